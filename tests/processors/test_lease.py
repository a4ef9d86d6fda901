"""A lease has one holder, and another the moment that one is gone, whatever became of it."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from processors.lease import FileLease, Lease, LeaseLost, PostgresLease
from tests.support import PATIENCE

LOOK = 0.2
RARELY = 600.0
"""Seconds between looks of who shall not lose it, though Postgres takes its time to answer."""

HOLDER = """
import asyncio, sys
from processors.lease import LeaseLost, PostgresLease

async def hold():
    try:
        async with PostgresLease(sys.argv[1], "one", look=float(sys.argv[2])).held():
            print("held", flush=True)
            await asyncio.Event().wait()
    except LeaseLost:
        print("lost", flush=True)

asyncio.run(hold())
"""


@pytest.fixture(params=["file", "postgres"])
def lease(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Lease:
    file = FileLease(tmp_path / "lease")
    return file if request.param == "file" else PostgresLease(database_url, "one", RARELY)


async def test_one_holds_it_and_the_next_when_that_one_lets_go(lease: Lease) -> None:
    lets_go, order = asyncio.Event(), list[str]()

    async def second() -> None:
        async with lease.held():
            order.append("second")

    async with lease.held():
        waiting = asyncio.create_task(second())
        asyncio.get_running_loop().call_later(1.5, lets_go.set)
        await lets_go.wait()
        order.append("first")
    await waiting

    assert order == ["first", "second"]


async def test_whoever_holds_it_may_be_told_to_stop(lease: Lease) -> None:
    held = asyncio.Event()

    async def hold() -> None:
        async with lease.held():
            held.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await held.wait()
    holder.cancel()

    with pytest.raises(asyncio.CancelledError):
        await holder


@asynccontextmanager
async def holder(url: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A process that holds it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, url, str(LOOK), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"held\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_holder_that_fell_silent_is_replaced_and_hears_of_it(database_url: str) -> None:
    async with holder(database_url) as silent:
        silent.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(PATIENCE), PostgresLease(database_url, "one", RARELY).held():
            silent.send_signal(signal.SIGCONT)
            out, _ = await silent.communicate()

    assert out == b"lost\n"


async def test_a_block_that_loses_a_cancellation_hears_that_the_lease_is_lost(
    database_url: str,
) -> None:
    ending: list[asyncio.Task[None]] = []

    async def hold() -> None:
        async with PostgresLease(database_url, "one", LOOK).held():
            ending.append(asyncio.create_task(end_sessions(database_url)))
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

    with pytest.raises(LeaseLost):
        await hold()
    await asyncio.gather(*ending)


async def end_sessions(url: str) -> None:
    """Have Postgres end all sessions of this test."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = current_setting('application_name')"
            " AND pid <> pg_backend_pid()"
        )
