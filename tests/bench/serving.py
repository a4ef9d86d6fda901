"""What the way through the gateway costs whoever asks a model.

The engine, the gateway and a peer are processes of their own. The peer is a bare proxy of aiohttp:
it knows one engine, keeps connections to it, and asks nobody who may; /serve looks at the token,
asks the log where the slot answers, and connects anew, each time. A token's delay is from the
engine's clock, right before it is written, to the asker's, when it arrives.
"""

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop
from aiohttp import ClientSession, web

from schemas.live import Endpoint
from tests.bench.children import child, nats_server
from tests.bench.figures import Bound, Figure, Measurement, median_ratio
from tests.gateway.rig import gateway

PREFIX = "bench"
STREAMS, TOKENS, EVERY = 64, 100, 0.02
"""Answers at once, of so many tokens, with so many seconds between them: a busy engine."""

ASKERS, SECONDS = 16, 2.0
WHOLE = b'{"choices":[{"message":{"role":"assistant","content":"yes"}}]}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
STREAMED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"

DELAY = Bound(f"/serve p99 of a token, {STREAMS} streams", 0.05, unit="s")
RATE = Bound("answers through /serve / a bare proxy", 0.15, "higher")


class Way(NamedTuple):
    """Where a model is asked, and as whom."""

    url: str
    bearer: str = ""

    def request(self, path: str) -> bytes:
        parts = urlsplit(self.url)
        return (
            f"POST {parts.path}/{path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Bearer {self.bearer}\r\nContent-Length: 2\r\n\r\n{{}}"
        ).encode()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        return await asyncio.open_connection(parts.hostname, parts.port)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What the engine does on each connection: one answer after the other, whole or in tokens."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(2)
            if b"/streamed " in head:
                await stream(writer)
            else:
                writer.write(HEAD + b"content-length: %d\r\n\r\n%b" % (len(WHOLE), WHOLE))
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def stream(writer: asyncio.StreamWriter) -> None:
    writer.write(STREAMED + b"\r\n")
    for _ in range(TOKENS):
        await asyncio.sleep(EVERY)
        said = b'data: {"at":%.6f}\n\n' % time.time()
        writer.write(b"%x\r\n%b\r\n" % (len(said), said))
    writer.write(b"0\r\n\r\n")


def engine(pipe: Connection) -> None:
    """The engine's process: it says where it is."""

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await asyncio.to_thread(pipe.recv)

    uvloop.run(run())


def serve(nats_url: str, home: Path, url: str, pipe: Connection) -> None:
    """The gateway's process, with the engine in its slot: it says where, and who may ask."""

    async def run() -> None:
        async with gateway(nats_url, PREFIX, home) as rig:
            now = datetime.now(UTC)
            await rig.live.say_endpoint(Endpoint("default", "bench", "one", "model", url, now))
            pipe.send((f"{rig.url}/serve/bench", rig.admin))
            await asyncio.to_thread(pipe.recv)

    uvloop.run(run())


def peer(url: str, pipe: Connection) -> None:
    """The peer's process: it says where it is."""

    async def run() -> None:
        async with ClientSession() as session:

            async def pass_on(request: web.Request) -> web.StreamResponse:
                body = await request.read()
                async with session.post(f"{url}{request.path}", data=body) as answer:
                    response = web.StreamResponse()
                    await response.prepare(request)
                    async for part in answer.content.iter_any():
                        await response.write(part)
                return response

            app = web.Application()
            app.router.add_post("/{path:.*}", pass_on)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
            pipe.send(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await asyncio.to_thread(pipe.recv)

    uvloop.run(run())


async def delays(way: Way) -> Sequence[float]:
    """Of every token of every answer, in seconds, sorted."""
    found = await asyncio.gather(*(_listen(way) for _ in range(STREAMS)))
    return sorted(delay for one in found for delay in one)


async def _listen(way: Way) -> Sequence[float]:
    reader, writer = await way.open()
    writer.write(way.request("v1/streamed"))
    found: list[float] = []
    while (line := await reader.readline()) != b"0\r\n":
        if line.startswith(b"data: "):
            found.append(time.time() - float(line[len(b'data: {"at":') : -2]))
    writer.close()
    assert len(found) == TOKENS
    return found


async def rate(way: Way) -> float:
    """Whole answers a second."""
    until = time.monotonic() + SECONDS
    counts = await asyncio.gather(*(_ask(way, until) for _ in range(ASKERS)))
    return sum(counts) / SECONDS


async def _ask(way: Way, until: float) -> int:
    reader, writer = await way.open()
    count = 0
    while time.monotonic() < until:
        writer.write(way.request("v1/whole"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        body = await reader.readuntil(b"}]}")
        assert body.endswith(WHOLE)
        if b"chunked" in head:
            await reader.readuntil(b"0\r\n\r\n")
        count += 1
    writer.close()
    return count


def take(runs: int) -> Iterator[Figure]:
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory()))
        nats_url = stack.enter_context(nats_server(home))
        url = stack.enter_context(child(engine)).pipe.recv()
        bare = Way(stack.enter_context(child(peer, url)).pipe.recv())
        ours = Way(*stack.enter_context(child(serve, nats_url, home, url)).pipe.recv())
        yield DELAY.figure(_delay({"straight": Way(url), "through /serve": ours}, runs))
        rates = [(uvloop.run(rate(ours)), uvloop.run(rate(bare))) for _ in range(runs)]
    for through, peers in rates:
        print(f"    answers through /serve {through:6,.0f}/s  a bare proxy {peers:6,.0f}/s")
    yield RATE.figure(median_ratio(rates))


def _delay(ways: Mapping[str, Way], runs: int) -> float:
    """The 99th percentile of the last of several ways, taken in turn; says those of all."""
    late = [[uvloop.run(delays(way)) for way in ways.values()] for _ in range(runs)]
    worst = 0.0
    for name, found in zip(ways, zip(*late, strict=True), strict=True):
        middle, worst = (statistics.median(_at(one, share) for one in found) for share in (50, 99))
        print(f"    token {name:14}  p50 {middle * 1e3:.2f} ms  p99 {worst * 1e3:.2f} ms")
    return worst


def _at(found: Sequence[float], percent: int) -> float:
    """`found` is sorted."""
    return found[len(found) * percent // 100]


measurement = Measurement("serving", (DELAY, RATE), take)
