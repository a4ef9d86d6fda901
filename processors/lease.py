"""One at a time among replicas: the `Lease` port, and its two forms.

Whoever holds a lease does the work; the others stand by, and one of them takes over as soon as the
holder is gone. Between processes of one machine the kernel keeps it (a locked file); between
machines Postgres does (an advisory lock, gone with its connection).
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

import psycopg

STANDBY_SECONDS = 1.0
LOOK_SECONDS = 2.0
SILENT = 5
"""So many looks missed, and Postgres takes the holder for gone: a machine that lost its power
closes no connection, and Postgres would wait for it for hours."""


class LeaseLost(Exception):
    """Somebody else may hold it by now: stop at once, and stand by."""


class Lease(Protocol):
    def held(self) -> AbstractAsyncContextManager[None]:
        """Wait until it is ours, and keep it for as long as the block runs.

        Raises `LeaseLost` in the block when it is ours no more, `OSError` when it can not be had.
        """
        ...


class FileLease:
    """Held through a lock on a file: never lost, and free the moment its holder has died."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _locked(file):  # noqa: ASYNC110  # a wait that blocks could not be cancelled
                await asyncio.sleep(STANDBY_SECONDS)
            yield
        finally:
            os.close(file)


def _locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class PostgresLease:
    """Held through an advisory lock on a connection of its own."""

    def __init__(self, database_url: str, name: str, look: float = LOOK_SECONDS) -> None:
        self._url = database_url
        self._name = name
        self._look = look

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        try:
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=5, keepalives_idle=5, keepalives_count=3
            ) as db:
                while not await self._taken(db):  # noqa: ASYNC110  # a waiting query holds up vacuum
                    await asyncio.sleep(STANDBY_SECONDS)
                await self._expect_signs(db)
                async with _while_answering(db, self._look):
                    yield
        except psycopg.Error as error:
            raise OSError(f"Postgres does not answer: {error}") from error

    async def _expect_signs(self, db: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        """Have Postgres end the session, and with it the lock, of a holder that fell silent."""
        silent = f"{SILENT * self._look * 1000:.0f}ms"
        await db.execute("SELECT set_config('idle_session_timeout', %s, false)", [silent])

    async def _taken(self, db: psycopg.AsyncConnection[tuple[object, ...]]) -> bool:
        query = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '/' || %s, 0))"
        return await (await db.execute(query, [self._name])).fetchone() == (True,)


@asynccontextmanager
async def _while_answering(
    db: psycopg.AsyncConnection[tuple[object, ...]], every: float
) -> AsyncGenerator[None]:
    """Cancel the block as soon as the connection, and with it the lock, has gone."""
    block = asyncio.current_task()
    assert block is not None
    cancelled = 0

    async def look() -> None:
        nonlocal cancelled
        with suppress(psycopg.Error, OSError, TimeoutError):
            while True:
                await asyncio.sleep(every)
                async with asyncio.timeout(every):
                    await db.execute("SELECT 1")
        while True:  # until it has left, as `ending.end` does
            block.cancel()
            cancelled += 1
            await asyncio.sleep(every)

    looking = asyncio.create_task(look())
    try:
        yield
    except asyncio.CancelledError:
        for _ in range(cancelled):
            block.uncancel()
        if not cancelled or block.cancelling():
            raise
        raise LeaseLost("Postgres was away, and the lock with it") from None
    finally:
        looking.cancel()
