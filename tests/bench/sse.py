"""How many subscribers one gateway process serves, how soon, and what each of them costs.

NATS, the gateway and the subscribers are processes of their own, on one machine. A delay is from
the writer's clock, right before it appends, to the subscriber's, when the bytes arrive.
"""

import asyncio
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import nats
import psutil
import uvloop
from ulid import ULID

from commands.jetstream import JetStreamLog, LogNames
from schemas.job import JobPauseRequested
from schemas.log import Head, Stream
from schemas.message import Context
from tests.bench.children import child, nats_server
from tests.bench.figures import Bound, Figure, Measurement
from tests.gateway.rig import gateway

SUBSCRIBERS = 2000
CROWDS = 2
"""Processes that the subscribers are spread over."""

SECONDS, RATE = 15.0, 20.0
PREFIX = "bench"
TIME = re.compile(rb'"time":"([^"]+)"')

DELAY = Bound(f"SSE p99 of {SUBSCRIBERS} subscribers", 1.0, unit="s")
MEMORY = Bound("gateway memory per subscriber", 40.0, unit="KiB")
LOST = Bound("SSE events lost or doubled", 0.0, unit="events")


class Outcome(NamedTuple):
    """Delays in seconds, sorted; KiB and processor share of the gateway; events that did not come
    exactly once."""

    delays: Sequence[float]
    kib: float
    cpu: float
    lost: int


class Subscriber(asyncio.Protocol):
    """Asks for the stream, and notes how long ago each event that arrives was written."""

    def __init__(self, request: bytes, crowd: "Crowd") -> None:
        self._request = request
        self._crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if b"listening" in data:
            self._crowd.open += 1
        now = time.time()
        self._crowd.delays += [now - self._crowd.when(at) for at in TIME.findall(data)]


class Crowd:
    """What the subscribers of one process have seen."""

    def __init__(self) -> None:
        self.open = 0
        self.delays: list[float] = []
        self._times: dict[bytes, float] = {}

    def when(self, written: bytes) -> float:
        if written not in self._times:
            self._times[written] = datetime.fromisoformat(written.decode()).timestamp()
        return self._times[written]


def subscribe(url: str, bearer: str, count: int, pipe: Connection) -> None:
    """A process of subscribers. It says when all of them listen, and on request what they saw."""

    async def run() -> None:
        crowd, loop, address = Crowd(), asyncio.get_running_loop(), urlsplit(url)
        assert address.hostname
        assert address.port
        request = f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n\r\n"
        for _ in range(count):
            await loop.create_connection(
                lambda: Subscriber(request.encode(), crowd), address.hostname, address.port
            )
        while crowd.open < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        pipe.send(crowd.delays)

    uvloop.run(run())


def serve(nats_url: str, home: Path, pipe: Connection) -> None:
    """The process of the gateway: it says where it is and who may ask, and ends on request."""

    async def run() -> None:
        async with gateway(nats_url, PREFIX, home) as rig:
            pipe.send((rig.url, rig.admin))
            await asyncio.to_thread(pipe.recv)

    uvloop.run(run())


async def write(nats_url: str, seconds: float, rate: float) -> int:
    """Append events at a steady rate; how many they were."""
    connection = await nats.connect(nats_url)
    log = JetStreamLog(connection, LogNames(PREFIX))
    await log.start()
    began = time.monotonic()
    count = int(seconds * rate)
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        job = str(ULID())
        context = Context(command=job, at=datetime.now(UTC), actor="bench")
        await log.append(
            Stream("default", "job", job), Head(), [JobPauseRequested(job=job)], context
        )
    await log.stop()
    await connection.close()
    return count


def measure(subscribers: int, seconds: float, rate: float) -> Outcome:
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory()))
        nats_url = stack.enter_context(nats_server(home))
        server = stack.enter_context(child(serve, nats_url, home))
        url, bearer = server.pipe.recv()
        process = psutil.Process(server.pid)
        before = process.memory_info().rss
        share = subscribers // CROWDS
        crowds = [stack.enter_context(child(subscribe, url, bearer, share)) for _ in range(CROWDS)]
        for crowd in crowds:
            crowd.pipe.recv()
        process.cpu_percent()
        written = asyncio.run(write(nats_url, seconds, rate))
        time.sleep(2)  # for what is still on its way: what has not come by then counts as lost
        cpu, after = process.cpu_percent(), process.memory_info().rss
        delays: list[float] = []
        for crowd in crowds:
            crowd.pipe.send("enough")
            delays += crowd.pipe.recv()
    lost = abs(written * share * CROWDS - len(delays))
    return Outcome(sorted(delays), (after - before) / 1024 / subscribers, cpu / 100, lost)


def take(_: int) -> Iterator[Figure]:
    outcome = measure(SUBSCRIBERS, SECONDS, RATE)
    p50, p99 = statistics.quantiles(outcome.delays, n=100)[49::49]
    print(
        f"    p50 {p50:.3f} s  p99 {p99:.3f} s  worst {outcome.delays[-1]:.3f} s"
        f"  {outcome.kib:.1f} KiB each  gateway's processor {outcome.cpu:.0%}",
        flush=True,
    )
    yield DELAY.figure(p99)
    yield MEMORY.figure(outcome.kib)
    yield LOST.figure(outcome.lost)


measurement = Measurement("sse", (DELAY, MEMORY, LOST), take)

if __name__ == "__main__":
    for figure in take(1):
        print(figure)
