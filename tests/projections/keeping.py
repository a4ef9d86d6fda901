"""Writing and comparing read models in tests."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from projections.catalog import PROJECTIONS
from projections.fold import Projection, expected
from projections.projection import run
from projections.rows import live_rows, superseded_rows
from projections.sharing import Log
from projections.table import Db
from projections.writer import Writer
from schemas.log import Commit


async def writer(db: Db, projection: Projection) -> Writer:
    return await Writer.open(db, projection, projection.version)


async def write(db: Db, commits: Sequence[Commit]) -> None:
    """Bring every read model up to the last of `commits`, the whole log."""
    for projection in PROJECTIONS:
        await (await writer(db, projection)).advance(commits)


async def assert_equal_to_a_fold(db: Db, projection: Projection, commits: Sequence[Commit]) -> None:
    """Read models equal a fold of the log, history included."""
    for table in projection.tables:
        rows, superseded = expected(table, commits)
        assert await live_rows(db, table) == rows
        if table.history:
            assert await superseded_rows(db, table) == superseded


async def position(db: Db, name: str) -> int:
    cursor = await db.execute("SELECT position FROM checkpoints WHERE name = %s", [name])
    row = await cursor.fetchone()
    return row[0] if row else -1


@asynccontextmanager
async def running(
    projection: Projection, log: Log, url: str, epoch: str = ""
) -> AsyncGenerator[None]:
    runner = asyncio.create_task(run(projection, log, url, epoch=epoch))
    try:
        yield
    finally:
        runner.cancel()
        await asyncio.gather(runner, return_exceptions=True)
