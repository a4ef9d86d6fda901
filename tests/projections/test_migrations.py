"""Tables are made by one verb, as often as it is asked to, and used in their own version only."""

import asyncio
import hashlib

import pytest
from psycopg import AsyncConnection

from projections.catalog import PROJECTIONS
from projections.migrations import SCHEMA, SchemaMismatch, check, migrate
from projections.statements import creation
from projections.table import Db
from tests.projections.keeping import assert_equal_to_a_fold, write
from tests.projections.telling import Told, install

FORMS = {1: "91f562d98b5cb73c", 2: "d86f607f6968d6d2"}
"""What the tables of each schema version look like, as a hash."""


async def test_a_database_without_tables_is_refused(database_url: str) -> None:
    async with await AsyncConnection.connect(database_url, autocommit=True) as db:
        with pytest.raises(SchemaMismatch, match="no tables"):
            await check(db)


async def test_migrated_tables_are_accepted_and_migrating_again_changes_nothing(db: Db) -> None:
    told = Told()
    install(told)
    await write(db, told.commits)
    await migrate(db)
    await check(db)
    for projection in PROJECTIONS:
        await assert_equal_to_a_fold(db, projection, told.commits)


async def test_two_may_migrate_at_once(database_url: str) -> None:
    async def once() -> None:
        async with await AsyncConnection.connect(database_url, autocommit=True) as db:
            await migrate(db)

    await asyncio.gather(once(), once(), once())


@pytest.mark.parametrize(("version", "said"), [(SCHEMA - 1, "older"), (SCHEMA + 1, "newer")])
async def test_tables_of_another_version_are_refused(db: Db, version: int, said: str) -> None:
    await db.execute("UPDATE read_models SET schema = %s", [version])
    with pytest.raises(SchemaMismatch, match=said):
        await check(db)


async def test_newer_tables_are_not_migrated_back(db: Db) -> None:
    await db.execute("UPDATE read_models SET schema = %s", [SCHEMA + 1])
    with pytest.raises(SchemaMismatch, match="newer"):
        await migrate(db)


async def test_tables_of_an_older_version_get_the_columns_they_lack(db: Db) -> None:
    told = Told()
    install(told)
    await write(db, told.commits)
    for column in ("remedy", "next_attempt_at", "bytes_total"):
        await db.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        await db.execute(f"ALTER TABLE jobs_history DROP COLUMN {column}")
    await db.execute('ALTER TABLE weights DROP COLUMN "references"')
    await db.execute("UPDATE read_models SET schema = %s", [SCHEMA - 1])

    await migrate(db)

    await check(db)
    cursor = await db.execute("SELECT remedy, next_attempt_at, bytes_total FROM jobs")
    assert await cursor.fetchall() == [("", None, 0)]
    cursor = await db.execute('SELECT "references" FROM weights')
    assert await cursor.fetchall() == [([],)]


def test_a_table_that_changed_has_a_new_schema_version() -> None:
    statements = (
        statement.as_bytes()
        for projection in PROJECTIONS
        for table in projection.tables
        for statement in creation(table)
    )
    form = hashlib.sha256(b"\n".join(statements)).hexdigest()[:16]
    assert FORMS[SCHEMA] == form, f"raise SCHEMA, and say here what it looks like: {form}"
