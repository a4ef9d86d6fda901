"""Event logs for tests, and what one writes on them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, cast

import nats
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js.api import StreamConfig
from nats.js.errors import ServiceUnavailableError

from commands.jetstream import JetStreamLog, LogNames, stream_config
from schemas.job import JobProgress, JobStarted
from schemas.log import AnyEvent, Commit, EventLog, Stream
from schemas.message import Context
from tests.support import PATIENCE, eventually

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
STARTED = JobStarted("j1", 1, "w1")
SPARE = 64 * 1024 * 1024

_seconds = count()


def stream(id: str, *, namespace: str = "default", aggregate: str = "job") -> Stream:
    return Stream(namespace, aggregate, id)


def context(
    command: str,
    actor: str = "token:t1",
    correlation: str = "",
    causation: str = "",
    traceparent: str = "",
) -> Context:
    """Who, why and when: each a second later than the one before."""
    return Context(
        command=command,
        at=START + timedelta(seconds=next(_seconds)),
        actor=actor,
        correlation=correlation,
        causation=causation,
        traceparent=traceparent,
    )


def progress(events: int, bytes_done: int = 0) -> Sequence[AnyEvent]:
    """A commit's worth of events, no two alike."""
    return [JobProgress("j1", 1, "fetch", bytes_done + n) for n in range(events)]


@asynccontextmanager
async def connected(urls: Sequence[str], **options: Any) -> AsyncGenerator[Client]:
    """A client that never gives up, as every role connects."""
    connection = await nats.connect(
        list(urls),
        # A server that is slow to greet must not be given up: its socket would be forgotten.
        connect_timeout=int(PATIENCE),
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.1,
        error_cb=_hush,
        **options,
    )

    async def settled() -> bool:
        return connection.is_connected or connection.is_closed

    try:
        yield connection
        # A client that is closed while it reconnects forgets a socket.
        await eventually(settled)
    finally:
        await connection.close()


async def _hush(_: Exception) -> None:
    """Servers come and go in these tests."""


async def make_stream(client: Client, prefix: str, replicas: int = 1, room: int = SPARE) -> None:
    config = stream_config(LogNames(prefix), replicas=replicas, epoch="e1", max_bytes=room)
    await add_stream(client, config)


async def add_stream(client: Client, config: StreamConfig) -> None:
    """Make a stream; nodes that choose a leader meanwhile may lose the request, or refuse it."""

    async def added() -> bool:
        try:
            await client.jetstream(timeout=PATIENCE / 4).add_stream(config)
        except (TimeoutError, NoRespondersError, ServiceUnavailableError):
            return False
        return True

    await eventually(added)


@asynccontextmanager
async def opened(
    client: Client, prefix: str, patience: float = PATIENCE
) -> AsyncGenerator[JetStreamLog]:
    """The log. A test of what little `patience` leads to says how little."""
    log = JetStreamLog(client, LogNames(prefix), patience)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


async def read(log: EventLog, after: int, until: int) -> list[Commit]:
    """What a follower past `after` hears, up to and with position `until`."""
    heard: list[Commit] = []
    async with asyncio.timeout(PATIENCE), aclosing(following(log, after)) as batches:
        async for batch in batches:
            assert batch
            heard += batch
            if heard[-1].position >= until:
                break
    return heard


def following(log: EventLog, after: int) -> AsyncGenerator[Sequence[Commit]]:
    """A follower that can be closed: every implementation's is a generator."""
    follower: AsyncIterator[Sequence[Commit]] = log.follow(after)
    return cast("AsyncGenerator[Sequence[Commit]]", follower)
