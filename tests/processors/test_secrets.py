"""Secrets: one contract for the files and for Postgres."""

import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from processors.secrets import TABLE, FileSecrets, PostgresSecrets
from schemas.message import Rejected
from schemas.secrets import Secrets

Db: TypeAlias = psycopg.AsyncConnection[Any]
Pool: TypeAlias = AsyncConnectionPool[Db]


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    pool: Pool = AsyncConnectionPool(
        database_url, min_size=1, max_size=2, kwargs={"autocommit": True}, open=False
    )
    async with pool:
        async with pool.connection() as db:
            await db.execute(TABLE)
        yield pool


@pytest.fixture
def files(tmp_path: Path) -> Secrets:
    return FileSecrets(tmp_path)


@pytest.fixture
def rows(pool: Pool) -> Secrets:
    return PostgresSecrets(pool.connection, "a key of some length")


@pytest.fixture(params=["files", "rows"])
def secrets(request: pytest.FixtureRequest) -> Secrets:
    made: Secrets = request.getfixturevalue(request.param)
    return made


async def test_a_secret_is_kept_and_replaced(secrets: Secrets) -> None:
    await secrets.set("default", "hub", "one")
    await secrets.set("default", "hub", "two")

    assert await secrets.get("default", "hub") == "two"


async def test_a_listing_has_names_and_no_values(secrets: Secrets) -> None:
    await secrets.set("default", "b", "value")
    await secrets.set("default", "a", "value")

    assert [found.name for found in await secrets.list("default")] == ["a", "b"]
    assert "value" not in repr(await secrets.list("default"))


async def test_namespaces_do_not_see_each_other(secrets: Secrets) -> None:
    await secrets.set("mine", "hub", "value")

    with pytest.raises(Rejected) as caught:
        await secrets.get("yours", "hub")
    assert caught.value.code == "secret_not_found"
    assert list(await secrets.list("yours")) == []


async def test_deleting_says_whether_there_was_one(secrets: Secrets) -> None:
    await secrets.set("default", "hub", "value")

    assert await secrets.delete("default", "hub")
    assert not await secrets.delete("default", "hub")


async def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    await FileSecrets(tmp_path).set("default", "hub", "value")

    assert stat.S_IMODE((tmp_path / "default" / "hub").stat().st_mode) == 0o600


async def test_a_row_is_sealed_and_bound_to_its_name(pool: Pool) -> None:
    secrets = PostgresSecrets(pool.connection, "a key of some length")
    await secrets.set("default", "hub", "hf_value")
    async with pool.connection() as db:
        stored = await (await db.execute("SELECT value FROM secrets")).fetchone()
        await db.execute("UPDATE secrets SET name = 'other'")

    assert stored is not None
    assert b"hf_value" not in stored[0]
    with pytest.raises(Rejected):
        await secrets.get("default", "other")


async def test_another_key_opens_nothing(pool: Pool) -> None:
    await PostgresSecrets(pool.connection, "a key of some length").set("default", "hub", "value")

    with pytest.raises(Rejected) as caught:
        await PostgresSecrets(pool.connection, "another key").get("default", "hub")
    assert caught.value.code == "secrets_unavailable"


async def test_without_a_key_nothing_is_kept_or_read_and_the_remedy_is_said(pool: Pool) -> None:
    await PostgresSecrets(pool.connection, "a key of some length").set("default", "hub", "value")
    keyless = PostgresSecrets(pool.connection, "")

    for asked in (keyless.set("default", "new", "value"), keyless.get("default", "hub")):
        with pytest.raises(Rejected) as caught:
            await asked
        assert caught.value.code == "secrets_unavailable"
        assert "MLLM_SECRET_KEY" in str(caught.value.details["remedy"])

    assert [found.name for found in await keyless.list("default")] == ["hub"]
    assert await keyless.delete("default", "hub")


async def test_postgres_out_of_reach_is_said_so() -> None:
    @asynccontextmanager
    async def connect() -> AsyncGenerator[Db]:
        nowhere = "host=/nowhere connect_timeout=1"
        async with await psycopg.AsyncConnection.connect(nowhere) as db:
            yield db

    with pytest.raises(Rejected) as caught:
        await PostgresSecrets(connect, "key").get("default", "hub")
    assert caught.value.code == "secrets_unavailable"
