"""Runners: one for each read model, through whatever happens to Postgres."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
from psycopg import AsyncConnection

from projections import event_index, jobs
from projections.migrations import migrate
from projections.table import Db
from schemas.log import Commit
from tests.projections.keeping import assert_equal_to_a_fold, position, running
from tests.projections.telling import Told, anything, install
from tests.servers import postgres_server
from tests.support import eventually

HOLDER = """
import asyncio, sys
from projections import jobs, projection
from tests.projections.telling import Told

projection.SILENT_SECONDS, projection.LOOK_SECONDS = 1, 0.2
asyncio.run(projection.run(jobs.projection, Told(), sys.argv[1]))
"""


async def caught_up(db: Db, told: Told, name: str = "jobs") -> None:
    async def reached() -> bool:
        return await position(db, name) == len(told.commits)

    await eventually(reached)


async def test_a_runner_follows_the_log(db: Db, database_url: str) -> None:
    told = Told(batch=7)
    anything(told, 50)
    async with running(jobs.projection, told, database_url):
        await caught_up(db, told)
        anything(told, 50)
        await caught_up(db, told)
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_of_two_runners_one_works_and_the_other_takes_over(db: Db, database_url: str) -> None:
    told = Told()
    standby = told.once_more()
    async with running(jobs.projection, told, database_url):
        install(told)
        await caught_up(db, told)
        async with running(jobs.projection, standby, database_url):
            await eventually(lambda: _stands_by(db))
            install(told, "A" * 26)
            await caught_up(db, told)
            assert standby.followed == 0
            await _disconnect(db)
            install(told, "B" * 26)
            await caught_up(db, told)
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_a_runner_that_fell_silent_is_replaced(db: Db, database_url: str) -> None:
    told = Told()
    silent = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, database_url)
    try:
        await eventually(lambda: _held(db))
        silent.send_signal(signal.SIGSTOP)
        install(told)
        async with running(jobs.projection, told, database_url):
            await caught_up(db, told)
    finally:
        silent.kill()
        await silent.wait()
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def _held(db: Db) -> bool:
    """Whether somebody holds a lease."""
    cursor = await db.execute(
        "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
        " AND granted AND application_name = current_setting('application_name')"
    )
    return cursor.rowcount > 0


async def _stands_by(db: Db) -> bool:
    """Whether somebody has asked for a lease, and for nothing since."""
    cursor = await db.execute(
        "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_try_advisory_lock%' AND"
        " state = 'idle' AND application_name = current_setting('application_name')"
    )
    return cursor.rowcount > 0


async def test_runners_that_lose_their_connections_again_and_again_write_each_commit_once(
    db: Db, database_url: str
) -> None:
    told = Told(batch=3)
    async with (
        running(jobs.projection, told, database_url),
        running(jobs.projection, told, database_url),
    ):
        for round in range(5):
            anything(told, 30, seed=round)
            await _disconnect(db)
        await caught_up(db, told)
    await assert_equal_to_a_fold(db, jobs.projection, told.commits)


async def test_postgres_may_be_killed_and_come_back(tmp_path: Path) -> None:
    told = Told()
    anything(told, 30)
    server = await postgres_server(tmp_path / "postgres")
    await server.start()
    try:
        async with await AsyncConnection.connect(server.url, autocommit=True) as db:
            await migrate(db)
        async with running(jobs.projection, told, server.url):
            async with await AsyncConnection.connect(server.url, autocommit=True) as db:
                await caught_up(db, told)
            server.kill()
            anything(told, 30, seed=2)
            await server.start()
            async with await AsyncConnection.connect(server.url, autocommit=True) as db:
                await caught_up(db, told)
                await assert_equal_to_a_fold(db, jobs.projection, told.commits)
    finally:
        server.kill()


class Stumbling(Told):
    """A log whose followers are let down at first."""

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Commit]]:
        if self.followed < 2:
            self.followed += 1
            raise ValueError("a stored message that can not be")
        async for batch in super().follow(after):
            yield batch


async def test_a_defect_is_logged_and_tried_again_with_pauses(
    db: Db, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = Stumbling()
    install(told)
    async with running(jobs.projection, told, database_url):
        await caught_up(db, told)
    assert told.followed == 3
    assert "a stored message that can not be" in caplog.text


async def test_a_runner_without_tables_waits_for_them(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    install(told)
    async with running(event_index.projection, told, database_url):
        await eventually(lambda: _said(caplog, "event_index pauses"))
        async with await AsyncConnection.connect(database_url, autocommit=True) as db:
            await migrate(db)
            await caught_up(db, told, "event_index")


async def _said(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return text in caplog.text


async def _disconnect(db: Db) -> None:
    """Cut every connection of this test but this one."""
    await db.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <>"
        " pg_backend_pid() AND application_name = current_setting('application_name')"
    )
