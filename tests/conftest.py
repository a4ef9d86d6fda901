"""Shared fixtures: real servers, and a place of one's own on them. A test names what it needs.

Servers start when the first test asks for them (NATS in 0.1 s, Postgres in 1 s), live as long as
the session, and die with it even when it is killed.
"""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests import servers
from tests.servers import Server

T = TypeVar("T")

# Whoever runs the suite in a shell's background has Ctrl-C ignored, and so would what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers_home() -> Generator[Path]:
    with TemporaryDirectory(prefix="mllm-tests-") as home:
        yield Path(home)


@pytest.fixture(scope="session")
def nats_url(servers_home: Path) -> Generator[str]:
    """The address of a NATS with JetStream that all tests share; see `stream_prefix`."""
    server = servers.nats_server(servers_home / "nats")
    try:
        _finish(server.start())
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def nats_cluster(servers_home: Path) -> Generator[Sequence[str]]:
    """The addresses of three NATS nodes that keep three copies of a stream."""
    home = servers_home / "cluster"
    home.mkdir()
    nodes = servers.nats_cluster(home)
    urls = [node.url for node in nodes]
    try:
        for node in nodes:
            node.launch()
        _finish(servers.replicates(urls))
        yield urls
    finally:
        for node in nodes:
            node.stop()


@pytest.fixture(scope="session")
def postgres_url(servers_home: Path) -> Generator[str]:
    """The address of a Postgres that all tests share; most want `database_url`."""
    server = _finish(servers.postgres_server(servers_home / "postgres"))
    try:
        _finish(server.start())
        yield server.url
    finally:
        server.stop()


@pytest.fixture
async def stream_prefix(request: pytest.FixtureRequest, nats_url: str) -> AsyncGenerator[str]:
    """Something to begin all names of streams and subjects with; such streams are deleted."""
    prefix = f"t{uuid4().hex[:8]}"
    yield prefix
    await servers.delete_streams([nats_url], prefix)
    if "nats_cluster" in request.fixturenames:
        await servers.delete_streams(request.getfixturevalue("nats_cluster"), prefix)


@pytest.fixture
def database_url(postgres_url: str) -> Generator[str]:
    """A database address whose schema belongs to this test alone, and goes with it."""
    name = f"t{uuid4().hex[:12]}"
    schema = sql.Identifier(name)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        yield f"{postgres_url}&options=-csearch_path%3D{name}&application_name={name}"
        # A test that failed may have left connections, and locks with them.
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = %s",
            [name],
        )
        admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))


@pytest.fixture
def private_nats(tmp_path: Path) -> Generator[Callable[[], Awaitable[Server]]]:
    """Starts a NATS that this test alone has, and may kill; as often as it is called."""
    started: list[Server] = []

    async def start() -> Server:
        server = servers.nats_server(tmp_path / f"nats{len(started)}")
        started.append(server)
        await server.start()
        return server

    yield start
    for server in started:
        server.kill()


def _finish(work: Coroutine[Any, Any, T]) -> T:
    """Run on a loop of its own; `asyncio.run` would take the tests' loop from pytest-asyncio."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
