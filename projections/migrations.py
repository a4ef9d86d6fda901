"""Creating the read models' tables, and refusing those of another version."""

from psycopg.rows import scalar_row
from psycopg.sql import SQL

from projections import checkpoints
from projections.catalog import PROJECTIONS
from projections.statements import creation, indexes
from projections.table import Db

SCHEMA = 2
"""Raised whenever a table changes: a role runs on its own version only."""

TABLE = """
    CREATE TABLE IF NOT EXISTS read_models (
        single boolean PRIMARY KEY DEFAULT true CHECK (single),
        schema integer NOT NULL
    )
"""


class SchemaMismatch(Exception):
    """The tables are not those that this version works with."""


async def migrate(db: Db) -> None:
    """Create what is missing, as often as you like. Raises `SchemaMismatch` for newer tables."""
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock(hashtext('mllm migrate'))")
        await db.execute(TABLE)
        found = await _schema(db)
        if found is not None and found > SCHEMA:
            raise SchemaMismatch(_newer(found))
        await db.execute(checkpoints.TABLE)
        tables = [table for projection in PROJECTIONS for table in projection.tables]
        await db.execute(
            SQL("; ").join(
                statement for table in tables for statement in (*creation(table), *indexes(table))
            )
        )
        await db.execute(
            "INSERT INTO checkpoints (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
            [[projection.name for projection in PROJECTIONS]],
        )
        await db.execute(
            "INSERT INTO read_models (schema) VALUES (%s)"
            " ON CONFLICT (single) DO UPDATE SET schema = excluded.schema",
            [SCHEMA],
        )


async def check(db: Db) -> None:
    """Raises `SchemaMismatch` unless `migrate` of this version has been here last."""
    cursor = await db.execute("SELECT to_regclass('read_models') IS NOT NULL")
    found = await _schema(db) if await cursor.fetchone() == (True,) else None
    if found is None:
        raise SchemaMismatch("the database has no tables of mllm")
    if found > SCHEMA:
        raise SchemaMismatch(_newer(found))
    if found < SCHEMA:
        raise SchemaMismatch(f"the database's tables are of version {found}, older than {SCHEMA}")


async def _schema(db: Db) -> int | None:
    async with db.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT schema FROM read_models")
        found: int | None = await cursor.fetchone()
        return found


def _newer(found: int) -> str:
    return f"the database's tables are of version {found}, newer than this version's {SCHEMA}"
