"""Keeping read models up to date: one runner for each, wherever its lease is held.

A runner follows the log from the read model's checkpoint. Rows that an older build or another log
made, or that somebody asked to have made again, are folded anew into tables beside the live ones,
which go on being served and written until the new ones have caught up and take their place.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

import psycopg

from projections import beside, checkpoints
from projections.fold import Projection
from projections.sharing import Log
from projections.table import Db
from projections.writer import Moved, Writer
from schemas.log import Commit, LogUnavailable

Take: TypeAlias = Callable[[float], Awaitable[Sequence[Commit]]]

LOOK_SECONDS = 1.0
STANDBY_SECONDS = 1.0
SILENT_SECONDS = 15.0
"""After which Postgres takes a runner for gone, with its lease and its locks: a machine that lost
its power closes no connection, and Postgres would wait for it for hours. A runner looks every
`LOOK_SECONDS`."""

FIRST_PAUSE, LAST_PAUSE, STEADY_SECONDS = 0.1, 10.0, 30.0

logger = logging.getLogger(__name__)


async def run(projection: Projection, log: Log, database_url: str, *, epoch: str = "") -> None:
    """Keep a read model up to date, for ever; stand by while another runner does.

    `epoch` names the log: rows that another log made are folded anew.
    """
    version = f"{projection.version}@{epoch}"
    pause = FIRST_PAUSE
    while True:
        began = time.monotonic()
        try:
            async with connection(database_url) as db:
                await _hold_lease(db, projection.name)
                while True:
                    await _serve(projection, version, log, db, database_url)
        except Moved as moved:
            logger.info("%s begins again: %s", projection.name, moved)
        except (psycopg.Error, LogUnavailable) as error:
            logger.warning("%s pauses: %s", projection.name, error)
        except Exception:  # a defect in one read model must not stop the others
            logger.exception("%s pauses", projection.name)
        if time.monotonic() - began > STEADY_SECONDS:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, LAST_PAUSE)


async def rebuild(projection: Projection, log: Log, database_url: str, *, epoch: str = "") -> None:
    """Fold the log anew, and return when the new rows have taken the live ones' place.

    Whoever runs the projection does it; if nobody does, it is done here. Raises `Rejected` with
    `not_found` and psycopg's errors.
    """
    async with connection(database_url) as db:
        built = await checkpoints.request_rebuild(db, projection.name)
        runner = asyncio.create_task(run(projection, log, database_url, epoch=epoch))
        try:
            while await checkpoints.built(db, projection.name) == built:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        finally:
            await _end(runner)


@asynccontextmanager
async def connection(database_url: str) -> AsyncGenerator[Db]:
    """A connection of a runner's own: it holds the lease, and whoever loses it has lost both."""
    async with await psycopg.AsyncConnection.connect(
        database_url, autocommit=True, connect_timeout=5, keepalives_idle=10, keepalives_count=3
    ) as db:
        # A crash of Postgres may lose the last moments, rows and checkpoint together: they are
        # folded again. So nothing has to wait for the disk.
        await db.execute("SET synchronous_commit = off")
        silent = f"{SILENT_SECONDS:.0f}s"
        for limit in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
            await db.execute("SELECT set_config(%s, %s, false)", [limit, silent])
        yield db


async def _hold_lease(db: Db, name: str) -> None:
    """Wait for the advisory lock; by asking again, since a waiting query would hold up vacuum."""
    query = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '.' || %s, 0))"
    while await (await db.execute(query, [name])).fetchone() != (True,):  # noqa: ASYNC110
        await asyncio.sleep(STANDBY_SECONDS)


async def _serve(projection: Projection, version: str, log: Log, db: Db, database_url: str) -> None:
    """Follow the log until the rows have been folded anew, should that become necessary."""
    live = await Writer.open(db, projection, version)
    if not live.outdated:
        await beside.abandon(db, projection)  # what another build began, and nobody needs now
    await _follow(live, log, lambda: live.outdated)
    logger.info("%s is folded anew", projection.name)
    rebuilding = asyncio.create_task(_rebuild(projection, version, log, database_url))
    try:
        with suppress(Moved):  # the new rows have taken the place of those that it wrote
            await _follow(live, log, rebuilding.done)
        await rebuilding
    finally:
        await _end(rebuilding)


async def _rebuild(projection: Projection, version: str, log: Log, database_url: str) -> None:
    async with connection(database_url) as db:
        new = await beside.begin(db, projection, version)
        end = await log.end()
        await _follow(new, log, lambda: new.position >= end)
        await beside.finish(db, projection)
        async with _arrivals(log, new.position) as take:
            while not await beside.swap(db, projection, new):
                await new.advance(await take(LOOK_SECONDS))


async def _follow(writer: Writer, log: Log, until: Callable[[], bool]) -> None:
    async with _arrivals(log, writer.position) as take:
        while not until():
            await writer.advance(await take(LOOK_SECONDS))


@asynccontextmanager
async def _arrivals(log: Log, after: int) -> AsyncGenerator[Take]:
    """Reads on in the background; what it yields takes what has arrived, waiting so many seconds
    for something to."""
    arrived: asyncio.Queue[Sequence[Commit]] = asyncio.Queue(1)

    async def read() -> None:
        async for commits in log.follow(after):
            await arrived.put(commits)

    async def take(seconds: float) -> Sequence[Commit]:
        try:
            async with asyncio.timeout(seconds):
                return await arrived.get()
        except TimeoutError:
            if reading.done():
                reading.result()  # raises what ended it
            return ()

    reading = asyncio.create_task(read())
    try:
        yield take
    finally:
        await _end(reading)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
