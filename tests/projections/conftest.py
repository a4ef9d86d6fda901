"""Migrated tables, and ways to fill them."""

from collections.abc import AsyncGenerator

import pytest
from psycopg import AsyncConnection

from projections.migrations import migrate
from projections.table import Db


@pytest.fixture
async def db(database_url: str) -> AsyncGenerator[Db]:
    """A connection to tables of this test's own, all empty."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        await migrate(connection)
        yield connection
