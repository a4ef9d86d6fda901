"""The implementations of the event log that one suite runs on."""

from collections.abc import AsyncGenerator, Sequence

import pytest

from commands import jetstream
from commands.jetstream import JetStreamLog
from commands.memory import MemoryLog
from schemas.log import EventLog
from tests.contract import logs
from tests.support import PATIENCE


@pytest.fixture
def memory_log() -> EventLog:
    return MemoryLog()


@pytest.fixture
async def jetstream_log(nats_url: str, stream_prefix: str) -> AsyncGenerator[JetStreamLog]:
    async with logs.connected([nats_url]) as client:
        await logs.make_stream(client, stream_prefix)
        async with logs.opened(client, stream_prefix) as log:
            yield log


@pytest.fixture
async def cluster_log(
    nats_cluster: Sequence[str], stream_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[JetStreamLog]:
    """Three copies of everything."""
    # Nodes that are slow to agree have not come to nothing.
    monkeypatch.setattr(jetstream, "SHOWS_WITHIN", PATIENCE)
    async with logs.connected(nats_cluster) as client:
        await logs.make_stream(client, stream_prefix, replicas=3)
        async with logs.opened(client, stream_prefix) as log:
            yield log


@pytest.fixture(params=["memory_log", "jetstream_log", "cluster_log"])
def log(request: pytest.FixtureRequest) -> EventLog:
    implementation: EventLog = request.getfixturevalue(request.param)
    return implementation
