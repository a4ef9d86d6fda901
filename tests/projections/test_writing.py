"""Rows and checkpoint move together, once for each commit."""

import asyncio

import psycopg
import pytest
from psycopg import AsyncConnection

from projections import jobs, weights
from projections.catalog import PROJECTIONS
from projections.table import Db
from projections.writer import Moved
from schemas.job import JobAttemptFailed, JobStarted
from schemas.log import Stream
from schemas.token import TokenIssued
from tests.projections.keeping import assert_equal_to_a_fold, position, waits_for_a_lock, writer
from tests.projections.telling import JOB, Told, anything, install, job, requested


@pytest.mark.parametrize("size", [1, 7, 400])
async def test_read_models_equal_a_fold_of_the_log(db: Db, size: int) -> None:
    told = Told()
    install(told)
    anything(told, 190)
    told(Stream("system", "token", "t1"), TokenIssued("t1", "ci", "h", ("read",), ("*",)))

    for projection in PROJECTIONS:
        live = await writer(db, projection)
        for start in range(0, len(told.commits), size):
            await live.advance(told.commits[start : start + size])

        await assert_equal_to_a_fold(db, projection, told.commits)
        assert await position(db, projection.name) == len(told.commits)


async def test_the_same_commits_again_change_nothing(db: Db) -> None:
    told = Told()
    anything(told, 100)
    for projection in PROJECTIONS:
        live = await writer(db, projection)
        await live.advance(told.commits[:60])
        await live.advance(told.commits[:60])
        await live.advance(told.commits[40:])

        await assert_equal_to_a_fold(db, projection, told.commits)


async def test_a_writer_that_begins_again_goes_on_where_the_last_one_stopped(db: Db) -> None:
    told = Told()
    anything(told, 100)
    for projection in PROJECTIONS:
        await (await writer(db, projection)).advance(told.commits[:50])
        await (await writer(db, projection)).advance(told.commits)

        await assert_equal_to_a_fold(db, projection, told.commits)


async def test_of_two_writers_only_one_gets_anywhere(db: Db, database_url: str) -> None:
    told = Told()
    anything(told, 40)
    async with await AsyncConnection.connect(database_url, autocommit=True) as other:
        first, second = await writer(db, jobs.projection), await writer(other, jobs.projection)
        outcomes = await asyncio.gather(
            first.advance(told.commits), second.advance(told.commits), return_exceptions=True
        )

    assert [type(outcome) for outcome in outcomes if outcome] == [Moved]
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_a_connection_lost_in_the_middle_leaves_neither_rows_nor_checkpoint(
    db: Db, database_url: str
) -> None:
    told = Told()
    anything(told, 40)
    async with await AsyncConnection.connect(database_url, autocommit=True) as other:
        live = await writer(other, jobs.projection)
        async with db.transaction():
            await db.execute("LOCK TABLE jobs_history")  # the writer gets half way, and waits
            writing = asyncio.create_task(live.advance(told.commits))
            await waits_for_a_lock(db)
            await db.execute("SELECT pg_terminate_backend(%s)", [other.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            await writing

    assert await position(db, "jobs") == 0
    await assert_equal_to_a_fold(db, jobs.projection, [])
    await (await writer(db, jobs.projection)).advance(told.commits)
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_commits_that_concern_nobody_move_the_checkpoint(db: Db) -> None:
    told = Told()
    told(job(), requested())
    live = await writer(db, weights.projection)
    await live.advance(told.commits)
    assert await position(db, "weights") == 1


async def test_texts_that_postgres_does_not_take_are_made_fit(db: Db) -> None:
    told = Told()
    told(job(), requested())
    told(job(), JobStarted(JOB, 1, "worker"))
    told(job(), JobAttemptFailed(JOB, 1, "odd", r"a NUL: \u0000, and no NUL: \\u0000" "\0", True))
    await (await writer(db, jobs.projection)).advance(told.commits)

    row = await jobs.get(db, "default", JOB)
    assert row is not None
    assert row.reason == r"a NUL: \u0000, and no NUL: \\u0000" "\N{REPLACEMENT CHARACTER}"
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_rows_that_are_not_remembered_are_read_again(db: Db) -> None:
    told = Told()
    anything(told, 80)
    for commit in told.commits:
        await (await writer(db, jobs.projection)).advance([commit])
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)
