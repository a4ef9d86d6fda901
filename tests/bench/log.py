"""How fast the event log is, beside a bare nats-py client: `python -m tests.bench.log`.

Everything is written to one server that syncs every message to the disk, 64 at a time, with the
same headers. Histories are loaded from a log of half a million commits.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeAlias

import msgspec
import nats
import uvloop
from nats.aio.client import Client
from nats.js.api import Header

from cli.embedded import nats as embedded_nats
from cli.embedded.child import Part
from commands.decider import handle
from commands.jetstream import JetStreamLog, LogNames, stream_config
from commands.job import decider
from schemas.job import (
    AGGREGATE,
    ChangePriority,
    JobCommand,
    JobProgress,
    JobRequested,
    RequestJob,
    VerifySpec,
)
from schemas.log import Commit, Head, Stream, head
from schemas.message import Context
from schemas.wire import ACTOR, CORRELATION, PREVIOUS, TYPES, WRITTEN
from tests.bench.figures import Bound, Figure, Measurement, median_ratio
from tests.bench.report import table
from tests.servers import Server, nats_server

IN_FLIGHT = 64
WRITES, SLICE = 600, 120
COMMITS, AGGREGATES, LOADS = 500_000, 25_000, 300
NAMES = LogNames("bench")
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
REQUESTED = JobRequested("j1", "org/model", "default", 1, VerifySpec())
PROGRESS = msgspec.json.encode([JobProgress("j1", 1, "fetch", 1024, 4096, 3, 12)])

APPEND = Bound("append / raw publish", 0.8, "higher")
YOUNG = Bound("command on 0 or 1 commits / raw publish", 0.35, "higher")
OLD = Bound("command on 10 commits / raw publish", 0.15, "higher")
LOAD = Bound("load 20 of 500,000 commits, warm", 3.0, unit="ms")

# Reading does not care how the log came about, and half a million syncs would take minutes.
UNSYNCED = """\
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{store}", max_file_store: 1TB }}
"""

Write: TypeAlias = Callable[[int], Awaitable[object]]


class Rates(NamedTuple):
    """Writes a second."""

    raw: float
    append: float
    young: float
    old: float


async def seconds(write: Write, numbers: range) -> float:
    """How long it takes to write all of them, with as many in flight as the bound says."""
    left = iter(numbers)

    async def keep_writing() -> None:
        for number in left:
            await write(number)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(IN_FLIGHT):
            tasks.create_task(keep_writing())
    return time.perf_counter() - began


class Writing:
    """One run: as many writes in each of several ways, to aggregates of their own."""

    def __init__(self, client: Client, log: JetStreamLog, run: int) -> None:
        self._js = client.jetstream()
        self._log = log
        self._run = run

    async def rates(self) -> Rates:
        """By turns and in slices: what slows the machine down for a while slows all of them."""
        ways = {
            "raw": (self._publish,),
            "append": (self._append,),
            "young": (self._first_command, self._next_command),
            "old": (self._command_on_old,),
        }
        taken = dict.fromkeys(ways, 0.0)
        for first in range(0, WRITES, SLICE):
            numbers = range(first, first + SLICE)
            await seconds(self._prepare, numbers)
            for way, writes in ways.items():
                for write in writes:
                    taken[way] += await seconds(write, numbers) / len(writes)
        return Rates(**{way: WRITES / time for way, time in taken.items()})

    async def _publish(self, number: int) -> object:
        subject = NAMES.subject(self._stream("raw", number))
        headers = said(subject, "job.requested") | {Header.EXPECTED_LAST_SUBJECT_SEQUENCE: "0"}
        return await self._js.publish(subject, msgspec.json.encode([REQUESTED]), headers=headers)

    async def _append(self, number: int) -> object:
        stream = self._stream("append", number)
        return await self._log.append(stream, Head(), [REQUESTED], context(f"c{number}"))

    async def _first_command(self, number: int) -> object:
        job = self._stream("young", number).id
        return await self._command(RequestJob(job, "t", "s", 1, VerifySpec()), "first")

    async def _next_command(self, number: int) -> object:
        return await self._command(ChangePriority(self._stream("young", number).id, 0), "next")

    async def _command_on_old(self, number: int) -> object:
        return await self._command(ChangePriority(self._stream("old", number).id, 0), "next")

    async def _command(self, command: JobCommand, id: str) -> object:
        return await handle(self._log, decider, command, context(id))

    async def _prepare(self, number: int) -> None:
        """A history of ten commits."""
        stream = self._stream("old", number)
        history: list[Commit] = []
        for commit in range(10):
            said = [REQUESTED] if not history else [JobProgress(stream.id, 1, "fetch", commit)]
            history.append(
                await self._log.append(stream, head(history), said, context(f"c{commit}"))
            )

    def _stream(self, kind: str, number: int) -> Stream:
        return Stream("default", AGGREGATE, f"{kind}{self._run}-{number:020}")


def context(command: str) -> Context:
    return Context(command=command, at=NOW, actor="token:bench")


def said(subject: str, types: str) -> dict[str, str]:
    """The headers of a commit, as a bare client has to write them."""
    return {
        Header.MSG_ID: f"c1@{subject}",
        TYPES: types,
        ACTOR: "token:bench",
        CORRELATION: "c1",
        WRITTEN: NOW.isoformat(),
    }


async def write(home: Path, runs: int) -> Sequence[Rates]:
    server = nats_server(home)
    async with client_of(server) as (client, log):
        rates: list[Rates] = []
        for run in range(runs):
            rates.append(await Writing(client, log, run).rates())
            print("   ", "  ".join(f"{n} {v:6,.0f}/s" for n, v in rates[-1]._asdict().items()))
        return rates


async def load(home: Path) -> float:
    """Milliseconds to load a history that is spread evenly over the whole log, the median."""
    async with client_of(unsynced_server(home)) as (client, log):
        await fill(client)
        chosen = random.Random(1).sample(range(AGGREGATES), LOADS)
        seconds: list[float] = []
        for number in (*chosen[:20], *chosen):
            began = time.perf_counter()
            history = await log.load(Stream("default", AGGREGATE, f"a{number}"))
            seconds.append(time.perf_counter() - began)
            assert len(history) == COMMITS // AGGREGATES
        return 1000 * median(seconds[20:])


async def fill(client: Client) -> None:
    js = client.jetstream(timeout=30)
    for number in range(1, COMMITS + 1):
        subject = NAMES.subject(Stream("default", AGGREGATE, f"a{number % AGGREGATES}"))
        headers = said(subject, "job.progress") | {PREVIOUS: "0" * 64}
        headers[Header.MSG_ID] = f"c{number}@{subject}"
        if number % 1000:
            await client.publish(subject, PROGRESS, headers=headers)
        else:  # its answer says that all before it are stored as well
            await js.publish(subject, PROGRESS, headers=headers)
    assert (await js.stream_info(NAMES.stream)).state.last_seq == COMMITS


@asynccontextmanager
async def client_of(server: Server) -> AsyncGenerator[tuple[Client, JetStreamLog]]:
    """A client of a server that is started for it, and the log there."""
    await server.start()
    try:
        client = await nats.connect(server.url)
        config = stream_config(NAMES, replicas=1, epoch="bench", max_bytes=-1)
        await client.jetstream().add_stream(config)
        log = JetStreamLog(client, NAMES)
        await log.start()
        yield client, log
        await client.close()
    finally:
        server.stop()


def unsynced_server(home: Path) -> Server:
    [port] = embedded_nats.free_ports(1)
    config = home / "nats.conf"
    config.write_text(UNSYNCED.format(port=port, store=home / "store"))
    url = f"nats://127.0.0.1:{port}"
    argv = (str(embedded_nats.binary()), "-c", str(config))
    ready = partial(embedded_nats.answers, url)
    return Server(Part("nats", argv, ready, embedded_nats.ENV), url, home / "nats.log")


def take(runs: int) -> Iterator[Figure]:
    with TemporaryDirectory(prefix="mllm-bench-") as home:
        rates = uvloop.run(write(Path(home), runs))
    yield APPEND.figure(median_ratio((rate.append, rate.raw) for rate in rates))
    yield YOUNG.figure(median_ratio((rate.young, rate.raw) for rate in rates))
    yield OLD.figure(median_ratio((rate.old, rate.raw) for rate in rates))
    with TemporaryDirectory(prefix="mllm-bench-") as home:
        yield LOAD.figure(uvloop.run(load(Path(home))))


measurement = Measurement("log", (APPEND, YOUNG, OLD, LOAD), take)


if __name__ == "__main__":
    print(*table(list(take(5))), sep="\n")
