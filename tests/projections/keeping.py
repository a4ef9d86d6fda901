"""Writing and comparing read models in tests."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg.sql import SQL, Composed, Identifier

from processors.ending import end
from projections.catalog import PROJECTIONS
from projections.fold import Folded, Projection, fold, steps
from projections.projection import run
from projections.rows import key_of, read_rows
from projections.sharing import Log
from projections.statements import history, listed, live
from projections.table import HISTORY, Db, Key, R, Superseded, Table, columns
from projections.writer import Writer
from schemas.log import Commit
from tests.support import eventually


async def writer(db: Db, projection: Projection) -> Writer:
    return await Writer.open(db, projection, projection.version)


async def write(db: Db, commits: Sequence[Commit]) -> None:
    """Bring every read model up to the last of `commits`, the whole log."""
    for projection in PROJECTIONS:
        await (await writer(db, projection)).advance(commits)


def expected(table: Table[R], commits: Iterable[Commit]) -> Folded[R]:
    """What the table must hold after a whole log: rows by key in order, and its history."""
    folded = fold(table, steps(table, commits), {})
    rows = {key: row for key, row in folded.rows.items() if row is not None}
    return Folded({key: rows[key] for key in sorted(rows)}, folded.superseded)


async def live_rows(db: Db, table: Table[R]) -> dict[Key, R]:
    """The whole table by key, in the order of keys."""
    query = SQL("SELECT {} FROM {}").format(_columns(table), Identifier(live(table)))
    rows = {key_of(table, row): row for row in await read_rows(db, table, query)}
    return {key: rows[key] for key in sorted(rows)}


async def superseded_rows(db: Db, table: Table[R]) -> list[Superseded[R]]:
    """All of the table's history, in the order in which it was superseded."""
    ended = [column.name for column in HISTORY]
    query = SQL("SELECT {} FROM {} ORDER BY to_position, {}")
    relation, key = Identifier(history(table)), listed(table.key)
    rows = await read_rows(db, table, query.format(_columns(table), relation, key))
    cursor = await db.execute(query.format(listed(ended), relation, key))
    ends = await cursor.fetchall()
    return [Superseded(row, to, at) for row, (to, at) in zip(rows, ends, strict=True)]


def _columns(table: Table[Any]) -> Composed:
    return listed(column.name for column in columns(table))


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


async def waits_for_a_lock(db: Db) -> None:
    """Return once another connection of this test waits for one."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND application_name = current_setting('application_name')"
    )

    async def waits() -> bool:
        return await (await db.execute(query)).fetchone() != (0,)

    await eventually(waits)


@asynccontextmanager
async def running(
    projection: Projection, log: Log, url: str, epoch: str = ""
) -> AsyncGenerator[None]:
    runner = asyncio.create_task(run(projection, log, url, epoch=epoch))
    try:
        yield
    finally:
        await end(runner)
