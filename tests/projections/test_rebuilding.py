"""Folding the log anew while the old rows are served."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import msgspec
import pytest
from psycopg import AsyncConnection

from processors.ending import end
from projections import beside, jobs, weights
from projections.catalog import PROJECTIONS
from projections.checkpoints import built, request_rebuild, status
from projections.fold import Projection
from projections.projection import rebuild
from projections.rows import Part
from projections.table import Db
from schemas.log import Commit
from schemas.message import Rejected
from tests.projections.keeping import (
    assert_equal_to_a_fold,
    position,
    running,
    waits_for_a_lock,
    write,
    writer,
)
from tests.projections.telling import Told, anything, install, job
from tests.support import PATIENCE, eventually


async def rebuilt(db: Db, projection: Projection, since: int) -> None:
    async def done() -> bool:
        return await built(db, projection.name) != since

    await eventually(done)


async def spoil(db: Db) -> None:
    """Rows as a defect would have left them."""
    await db.execute("UPDATE jobs SET target = 'wrong', position = position + 1")
    await db.execute("DELETE FROM jobs_history")


async def names(db: Db) -> list[str]:
    """Every table and index there is."""
    cursor = await db.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
        " AND relkind IN ('r', 'i') ORDER BY relname"
    )
    return [name for (name,) in await cursor.fetchall()]


async def test_rebuilt_read_models_equal_a_fold_of_the_log(db: Db, database_url: str) -> None:
    told = Told(batch=11)
    install(told)
    anything(told, 100)
    await write(db, told.commits)
    before = await names(db)
    for projection in PROJECTIONS:
        for table in projection.tables:
            await db.execute(f"TRUNCATE {table.name}".encode())

    await asyncio.gather(*(rebuild(projection, told, database_url) for projection in PROJECTIONS))

    for projection in PROJECTIONS:
        await assert_equal_to_a_fold(db, projection, told.commits)
        assert await position(db, projection.name) == len(told.commits)
    assert await names(db) == before


async def test_whoever_runs_the_projection_does_the_rebuilding(db: Db, database_url: str) -> None:
    told, idle = Told(), Told()
    anything(told, 50)
    async with running(jobs.projection, told, database_url):
        await eventually(lambda: _reached(db, 50))
        await rebuild(jobs.projection, idle, database_url)
        anything(told, 50)
        await rebuild(jobs.projection, idle, database_url)
    assert idle.followed == 0
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_queries_are_answered_throughout(db: Db, database_url: str) -> None:
    told = Told(batch=5)
    anything(told, 400)

    async with (
        await AsyncConnection.connect(database_url, autocommit=True) as reader,
        running(jobs.projection, told, database_url),
    ):
        await rebuild(jobs.projection, told, database_url)
        then = await jobs.page(reader, jobs.Wanted(None), Part(100, as_of=200))
        reads = 0

        async def read() -> None:
            nonlocal reads
            while True:
                now = await jobs.page(reader, jobs.Wanted(None), Part(100))
                assert len(now.items) == 10
                assert then == await jobs.page(reader, jobs.Wanted(None), Part(100, as_of=200))
                reads += 1

        reading = asyncio.create_task(read())
        for _ in range(3):
            await rebuild(jobs.projection, told, database_url)
        assert not reading.done()
        await end(reading)
    assert reads > 3


async def test_the_log_goes_on_while_the_rebuild_catches_up(db: Db, database_url: str) -> None:
    told = Told(batch=3)
    anything(told, 300)
    async with running(jobs.projection, told, database_url):
        rebuilding = asyncio.create_task(rebuild(jobs.projection, told, database_url))
        while not rebuilding.done():
            # No faster than it is written: what is ever behind is never there.
            if await _reached(db, len(told.commits)):
                anything(told, 1, seed=len(told.commits))
            await asyncio.sleep(0.01)
        await rebuilding
        await eventually(lambda: _reached(db, len(told.commits)))
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def _reached(db: Db, end: int) -> bool:
    return await position(db, "jobs") == end


async def test_rows_of_another_build_are_folded_anew_and_served_meanwhile(
    db: Db, database_url: str
) -> None:
    told = Told()
    install(told)
    older = replace(jobs.projection, events=None)
    assert older.version != jobs.projection.version
    async with running(older, told, database_url):
        await eventually(lambda: _reached(db, len(told.commits)))
    await spoil(db)
    since = await built(db, "jobs")

    async with running(jobs.projection, told, database_url):
        install(told, "A" * 26)
        await rebuilt(db, jobs.projection, since)
        since = await built(db, "jobs")
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)

    async with running(jobs.projection, told, database_url):  # once is enough
        install(told, "B" * 26)
        await eventually(lambda: _reached(db, len(told.commits)))
    assert await built(db, "jobs") == since


async def test_rows_of_another_log_are_folded_anew_even_if_that_was_longer(
    db: Db, database_url: str
) -> None:
    longer, told = Told(), Told()
    anything(longer, 50)
    install(told)
    async with running(jobs.projection, longer, database_url, epoch="first"):
        await eventually(lambda: _reached(db, 50))
    since = await built(db, "jobs")
    async with running(jobs.projection, told, database_url, epoch="second"):
        await rebuilt(db, jobs.projection, since)
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_an_unknown_event_is_left_out_without_a_rebuild_that_could_not_know_it_either(
    db: Db, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    install(told)
    known = len(told.commits)
    told.add(msgspec.structs.replace(told.commits[1], types=("job.transcended",), data=b"[{}]"))
    since = await built(db, "jobs")
    async with running(jobs.projection, told, database_url):
        await eventually(lambda: _reached(db, known + 1))
        install(told, "A" * 26)
        await eventually(lambda: _reached(db, len(told.commits)))
        assert await built(db, "jobs") == since
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)
    assert caplog.text.count("job.transcended") == 1


class Halting(Told):
    """A log that tells nobody of more than the first twenty commits."""

    halt = 20

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Commit]]:
        async for batch in super().follow(after):
            if batch[-1].position > self.halt:
                await asyncio.Event().wait()
            yield batch


async def test_an_interrupted_rebuild_goes_on_where_it_stopped(db: Db, database_url: str) -> None:
    told = Halting(batch=1)
    anything(told, 200)
    await write(db, told.commits)
    since = await request_rebuild(db, "jobs")
    async with running(jobs.projection, told, database_url):
        await eventually(lambda: _beside(db, told.halt))
    stopped = await position(db, "jobs__next")
    assert stopped == told.halt
    assert [s.rebuilding for s in await status(db, 200) if s.name == "jobs"] == [True]

    began: list[int] = []

    class Watched(Told):
        def follow(self, after: int):  # type: ignore[no-untyped-def]
            began.append(after)
            return super().follow(after)

    watched = Watched()
    watched.commits = told.commits
    async with running(jobs.projection, watched, database_url):
        await rebuilt(db, jobs.projection, since)
    assert stopped in began
    assert 0 not in began
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)
    assert [s.rebuilding for s in await status(db, 200) if s.name == "jobs"] == [False]


async def test_nothing_is_left_of_a_rebuild_that_nobody_needs_any_more(
    db: Db, database_url: str
) -> None:
    told = Told()
    install(told)
    before = await names(db)
    await beside.begin(db, jobs.projection, "a build that was taken back")
    async with running(jobs.projection, told, database_url):
        await eventually(lambda: _reached(db, len(told.commits)))
    assert await names(db) == before
    assert not any(one.rebuilding for one in await status(db, 0))


async def _beside(db: Db, position_: int) -> bool:
    return await position(db, "jobs__next") >= position_


async def test_a_long_read_delays_the_swap_and_nobody_else(db: Db, database_url: str) -> None:
    told = Told()
    anything(told, 50)
    await write(db, told.commits)
    async with await AsyncConnection.connect(database_url, autocommit=True) as reader:
        rebuilding = asyncio.create_task(rebuild(jobs.projection, told, database_url))
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM jobs")
            await eventually(lambda: _beside(db, 50))
            await waits_for_a_lock(db)
            async with asyncio.timeout(PATIENCE):
                await jobs.page(db, jobs.Wanted(None), Part())
            assert not rebuilding.done()
        await rebuilding
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_a_writer_stops_when_its_rows_are_replaced(db: Db, database_url: str) -> None:
    told = Told()
    install(told)
    live = await writer(db, weights.projection)
    await live.advance(told.commits)
    await rebuild(weights.projection, told, database_url)
    told(job(), *told.commits[1].events)
    with pytest.raises(Exception, match="rebuilt"):
        await live.advance(told.commits)


@pytest.mark.parametrize("name", ["never", "", "jobs__next"])
async def test_what_is_no_read_model_can_not_be_rebuilt(db: Db, name: str) -> None:
    await beside.begin(db, jobs.projection, "other")
    with pytest.raises(Rejected) as refusal:
        await request_rebuild(db, name)
    assert refusal.value.code == "not_found"
