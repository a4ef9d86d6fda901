"""Folding the log anew into tables beside the live ones, and putting those in their place."""

import asyncio
import logging

from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Identifier

from projections import checkpoints
from projections.fold import Projection
from projections.statements import BESIDE, creation, indexes, live, removal, renaming
from projections.table import Db
from projections.writer import Moved, Writer

RETRY_SECONDS = 0.5

logger = logging.getLogger(__name__)


async def begin(db: Db, projection: Projection, version: str) -> Writer:
    """The writer of the tables beside: from the start, or where an interrupted rebuild stopped."""
    name = projection.name + BESIDE
    async with db.transaction():
        found = await checkpoints.read(db, name)
        if found is None or found.version != version:
            await abandon(db, projection)
            for table in projection.tables:
                for statement in creation(table, BESIDE):
                    await db.execute(statement)
            await db.execute(
                "INSERT INTO checkpoints (name, version) VALUES (%s, %s)", [name, version]
            )
    return await Writer.open(db, projection, version, BESIDE)


async def abandon(db: Db, projection: Projection) -> None:
    """Leave nothing of a rebuild that was begun."""
    async with db.transaction():
        await db.execute("DELETE FROM checkpoints WHERE name = %s", [projection.name + BESIDE])
        for table in projection.tables:
            await db.execute(removal(table, BESIDE))


async def finish(db: Db, projection: Projection) -> None:
    """What is cheaper once the rows are there than before."""
    for table in projection.tables:
        for statement in indexes(table, BESIDE):
            await db.execute(statement)
        await db.execute(SQL("ANALYZE {}").format(Identifier(live(table, BESIDE))))


async def swap(db: Db, projection: Projection, new: Writer) -> bool:
    """Let the new rows be the live ones; False if they are behind, or somebody reads for long."""
    try:
        async with db.transaction():
            # Readers queue behind whoever waits for a table, so that must not be for long.
            await db.execute("SET LOCAL lock_timeout = '300ms'")
            old = await checkpoints.read(db, projection.name, lock=True)
            if old is None:
                raise Moved("it has no checkpoint; mllm migrate makes one")
            if new.position < old.position and _log(old.version) == _log(new.version):
                return False
            await db.execute("DELETE FROM checkpoints WHERE id = %s", [old.id])
            await new.rename(projection.name)
            for table in projection.tables:
                await db.execute(removal(table))
                for statement in renaming(table):
                    await db.execute(statement)
    except LockNotAvailable:
        await asyncio.sleep(RETRY_SECONDS)  # for readers to get through
        return False
    logger.info("%s is folded anew up to %d", projection.name, new.position)
    return True


def _log(version: str) -> str:
    return version.partition("@")[2]
