"""NATS dies at any moment, alone or as the leader of three: nothing acknowledged is lost."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from tests import servers
from tests.contract import logs
from tests.contract.writers import check, write_through
from tests.servers import Server
from tests.support import PATIENCE, eventually

LITTLE = 2.0
"""How long writers wait for an answer that may have died with its server."""


async def test_a_server_killed_among_eight_writers_loses_and_repeats_nothing(
    private_nats: Callable[[], Awaitable[Server]],
) -> None:
    chance = random.Random(11)
    server = await private_nats()
    async with logs.connected([server.url]) as client:
        await logs.make_stream(client, "t")

        async def connected() -> bool:
            return client.is_connected

        async def kill() -> None:
            for _ in range(3):
                await asyncio.sleep(chance.uniform(0.1, 0.4))
                await eventually(connected)  # a client cut off while it connects forgets a socket
                server.kill()
                await server.start()

        async with asyncio.timeout(2 * PATIENCE), logs.opened(client, "t", LITTLE) as log:
            granted = await write_through(log, kill())

        async with logs.opened(client, "t") as log:
            await check(log, granted)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncGenerator[Sequence[Server]]:
    """A cluster of three that this test alone has."""
    nodes = servers.nats_cluster(tmp_path)
    try:
        for node in nodes:
            node.launch()
        await servers.replicates([node.url for node in nodes])
        yield nodes
    finally:
        for node in nodes:
            node.kill()


async def test_a_leader_killed_among_eight_writers_loses_and_repeats_nothing(
    nodes: Sequence[Server],
) -> None:
    urls = [node.url for node in nodes]
    async with logs.connected(urls) as client:
        await logs.make_stream(client, "t", replicas=3)

        async def kill() -> None:
            await asyncio.sleep(0.3)
            while not (name := await leader(client)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            node = nodes[int(name.removeprefix("n"))]
            node.kill()
            await eventually(lambda: led_by_another(client, name))
            await node.start()

        async with asyncio.timeout(2 * PATIENCE), logs.opened(client, "t", LITTLE) as log:
            granted = await write_through(log, kill())

        async with logs.opened(client, "t") as log:
            await check(log, granted)


async def leader(client: Client) -> str:
    """The node that leads the log, or nothing while there is none."""
    try:
        info = await client.jetstream(timeout=1).stream_info("tEVT")
    except (NatsError, TimeoutError):
        return ""
    return (info.cluster.leader if info.cluster else None) or ""


async def led_by_another(client: Client, name: str) -> bool:
    return await leader(client) not in ("", name)
