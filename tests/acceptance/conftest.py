"""One installation and one Hub for all acceptance tests; each uses its own repositories."""

from collections.abc import Generator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.hub import Account, Hub
from tests.system import System, system

ACCOUNT = Account("me", "hf_right", frozenset({"org/gated", "org/private"}))


@pytest.fixture(scope="session")
def hub() -> Generator[Hub]:
    with Hub(accounts=[ACCOUNT]) as made:
        yield made


@pytest.fixture(scope="session")
def shared_database(postgres_url: str) -> str:
    return schema(postgres_url, f"acceptance{uuid4().hex[:8]}")


def schema(postgres_url: str, name: str) -> str:
    """The address of a new schema."""
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    return f"{postgres_url}&options=-csearch_path%3D{name}"


@pytest.fixture(scope="session")
def mllm(
    tmp_path_factory: pytest.TempPathFactory, nats_url: str, shared_database: str, hub: Hub
) -> Generator[System]:
    """Everything running, shared: a test that kills something has its own.

    No worker dies here, and none is to be thought dead because the machine is busy.
    """
    home: Path = tmp_path_factory.mktemp("mllm")
    prefix = f"a{uuid4().hex[:6]}"
    settings = {"MLLM_LEASE_SECONDS": "60"}
    with system(home, nats_url, shared_database, prefix, hub.url, **settings) as made:
        made.start()
        yield made
        made.stop()
