"""Many subscribers at once. The bench has ten times as many, and stricter bounds."""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tests.bench.children import child, nats_server
from tests.bench.sse import serve, write
from tests.support import PATIENCE

SUBSCRIBERS = 200
SECONDS, RATE = 2.0, 20.0
SOON = 2.0
ROUNDS = 5
"""How often it is tried at most to be soon: a machine that stands still delays everything."""

TIME = re.compile(rb'"time":"([^"]+)"')


class Subscriber:
    """Notes the position of each event, and how long ago it was written when it came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.positions: list[int] = []
        self.delays: list[float] = []
        self._reader = reader
        self._writer = writer

    async def subscribe(self, bearer: str) -> None:
        request = f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n\r\n"
        self._writer.write(request.encode())
        await self._reader.readuntil(b": listening\n\n")

    async def hear(self, events: int) -> None:
        """Listen until so many more have come."""
        until = len(self.delays) + events
        while len(self.delays) < until:
            line = await self._reader.readline()
            assert line, "the stream ended"
            if line.startswith(b"id: "):
                self.positions.append(int(line[4:].partition(b".")[0]))
            elif line.startswith(b"data: "):
                [written] = TIME.findall(line)
                then = datetime.fromisoformat(written.decode())
                self.delays.append(time.time() - then.timestamp())

    def leave(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def listening(url: str, bearer: str) -> AsyncGenerator[Sequence[Subscriber]]:
    address = urlsplit(url)
    async with AsyncExitStack() as stack:
        found: list[Subscriber] = []
        for _ in range(SUBSCRIBERS):
            ends = await asyncio.open_connection(address.hostname, address.port)
            found.append(Subscriber(*ends))
            stack.callback(found[-1].leave)
            await found[-1].subscribe(bearer)
        yield found


async def tell(nats_url: str, crowd: Sequence[Subscriber]) -> float:
    """Write events at a steady rate until everybody has heard them; how late most of them came."""
    before = len(crowd[0].delays)
    hearing = (one.hear(int(SECONDS * RATE)) for one in crowd)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(write(nats_url, SECONDS, RATE), *hearing)
    delays = [delay for one in crowd for delay in one.delays[before:]]
    return statistics.quantiles(delays, n=100)[98]


async def gather(nats_url: str, url: str, bearer: str, memory: Callable[[], int]) -> float:
    """What `memory` says when everybody has heard what was told soon."""
    async with listening(url, bearer) as crowd:
        late = [await tell(nats_url, crowd)]
        while late[-1] >= SOON and len(late) < ROUNDS:
            late.append(await tell(nats_url, crowd))
        assert min(late) < SOON
        [heard] = {tuple(one.positions) for one in crowd}
        assert heard == tuple(range(heard[0], heard[0] + len(late) * int(SECONDS * RATE)))
        return memory()


def test_a_crowd_hears_everything_once_soon_and_costs_little(tmp_path: Path) -> None:
    with nats_server(tmp_path) as nats_url, child(serve, nats_url, tmp_path) as server:
        url, bearer = server.pipe.recv()
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        after = asyncio.run(gather(nats_url, url, bearer, lambda: process.memory_info().rss))

    assert (after - before) / 1024 / SUBSCRIBERS < 40
