"""Logs that requests are made on."""

from collections.abc import AsyncGenerator

import pytest

from commands.jetstream import JetStreamLog
from commands.memory import MemoryLog
from tests.commands.serving import World
from tests.contract import logs


@pytest.fixture
async def jetstream_log(nats_url: str, stream_prefix: str) -> AsyncGenerator[JetStreamLog]:
    async with logs.connected([nats_url]) as client:
        await logs.make_stream(client, stream_prefix)
        async with logs.opened(client, stream_prefix) as log:
            yield log


@pytest.fixture
def serving() -> World:
    return World(MemoryLog())
