"""How fast jobs and weights are rebuilt, beside a bare nats-py loop that fetches the same messages.

`python -m tests.bench.rebuild` runs both on servers of its own and prints their ratio. The log is
one of whole installs of 12 files; what is rebuilt, history included, must equal what live runners
made of the log while it was written.
"""

import asyncio
import gc
import hashlib
import statistics
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import nats
import uvloop
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig
from psycopg import AsyncConnection
from ulid import ULID

from cli.embedded import postgres as embedded_postgres
from cli.embedded.datadir import DataDir
from commands.jetstream import JetStreamLog, LogNames, stream_config
from processors.ending import end
from projections import jobs, weights
from projections.checkpoints import status
from projections.migrations import migrate
from projections.projection import rebuild, run
from projections.sharing import SharedLog
from projections.table import Db, Table
from schemas.job import (
    FinishedFile,
    InstallSpec,
    JobCommitStarted,
    JobCompleted,
    JobProgress,
    JobRequested,
    JobStarted,
    Phase,
)
from schemas.log import AnyEvent, Head, Stream
from schemas.message import Context
from schemas.names import weights_id
from schemas.weights import WeightsFiles, WeightsInstalled, WeightsReleased, WeightsReserved
from tests.projections.keeping import live_rows, superseded_rows
from tests.servers import Server, nats_server
from tests.support import eventually

NAMES = LogNames("bench")
PROJECTIONS = (jobs.projection, weights.projection)
TABLES: tuple[Table[Any], ...] = (jobs.jobs, weights.weights)
INSTALLS = 3000
IN_FLIGHT = 64
FILES = 12
SIZE = 1_000_000_000


class Rates(NamedTuple):
    """Commits a second."""

    fetched: float
    rebuilt: float

    @property
    def ratio(self) -> float:
        return self.rebuilt / self.fetched


async def measure(nats_url: str, database_url: str, runs: int = 5) -> Sequence[Rates]:
    """Both speeds, in turns. Raises `AssertionError` should a rebuilt row differ."""
    client = await nats.connect(nats_url)
    log = JetStreamLog(client, NAMES)
    await log.start()
    async with await AsyncConnection.connect(database_url, autocommit=True) as db:
        await migrate(db)
        await _fill(client, log, database_url, db)
        end, live = await log.end(), await _everything(db)
        rates: list[Rates] = []
        for _ in range(runs):
            fetched = end / await _fetching(client, end)
            rates.append(Rates(fetched, end / await _rebuilding(log, database_url)))
            assert await _everything(db) == live
    await log.stop()
    await client.close()
    return rates


async def _fetching(client: Client, end: int) -> float:
    """Seconds that it takes to fetch everything, and do nothing with it."""
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True)
    messages = await client.jetstream().pull_subscribe("", stream=NAMES.stream, config=config)
    began, fetched = time.perf_counter(), 0
    while fetched < end:
        fetched += len(await messages.fetch(1000))
    seconds = time.perf_counter() - began
    await messages.unsubscribe()
    return seconds


async def _rebuilding(log: JetStreamLog, database_url: str) -> float:
    """Seconds from asking for both read models to be rebuilt until both have been swapped."""
    shared = SharedLog(log)
    began = time.perf_counter()
    await asyncio.gather(*(rebuild(projection, shared, database_url) for projection in PROJECTIONS))
    return time.perf_counter() - began


async def _everything(db: Db) -> Sequence[object]:
    return [(await live_rows(db, table), await superseded_rows(db, table)) for table in TABLES]


async def _fill(client: Client, log: JetStreamLog, database_url: str, db: Db) -> None:
    """Write the log while live runners follow it."""
    config = stream_config(NAMES, replicas=1, epoch="bench", max_bytes=-1)
    await client.jetstream().add_stream(config)
    shared = SharedLog(log)
    runners = [
        asyncio.create_task(run(projection, shared, database_url)) for projection in PROJECTIONS
    ]
    numbers = iter(range(INSTALLS))
    await asyncio.gather(*(_install_all(log, numbers) for _ in range(IN_FLIGHT)))
    goal = await log.end()

    async def seen() -> bool:
        models = {one.name: one.lag for one in await status(db, goal)}
        return all(models[projection.name] == 0 for projection in PROJECTIONS)

    await eventually(seen, within=60)
    for runner in runners:
        await end(runner)


async def _install_all(log: JetStreamLog, numbers: Iterator[int]) -> None:
    for number in numbers:
        heads: dict[Stream, Head] = {}
        for stream, events in _install(number):
            context = Context(
                command=str(ULID()), at=datetime.now(UTC), actor="token:b", correlation=str(ULID())
            )
            commit = await log.append(stream, heads.get(stream, Head()), events, context)
            heads[stream] = Head(commit.position, commit.hash)


def _install(number: int) -> Iterator[tuple[Stream, Sequence[AnyEvent]]]:
    """An install of 12 files in 11 commits, as a worker would report it."""
    id, target = str(ULID()), f"org/model-{number}"
    job, place = Stream("default", "job", id), Stream("default", "weights", weights_id(target))
    files = tuple(
        FinishedFile(f"model-{index:05}-of-00012.safetensors", SIZE, "sha256", _sha256(id, index))
        for index in range(FILES)
    )
    total = FILES * SIZE
    spec = InstallSpec(target, "main", _sha256(id)[:40], _sha256(target), FILES, total)
    manifest = _sha256(id, target)

    def progress(phase: Phase, since: int, done: int) -> JobProgress:
        return JobProgress(
            id, 1, phase, done * SIZE, total, done, FILES, files[since:done]
        )  # fmt: skip

    yield place, [WeightsReserved(target, id, spec.key, "default", 1, spec)]
    yield job, [JobRequested(id, target, "default", 1, spec)]
    yield job, [JobStarted(id, 1, "worker-1")]
    yield job, [progress("plan", 0, 0)]
    for done in range(4, FILES + 1, 4):
        yield job, [progress("fetch", done - 4, done)]
    yield job, [progress("verify", FILES, FILES)]
    yield job, [JobCommitStarted(id, 1, manifest)]
    installed = WeightsInstalled(
        target, id, manifest, spec.key, "default", target, "main", spec.commit, FILES, total
    )
    sealed = WeightsFiles(target, id, 1, 1, files), installed, WeightsReleased(target, id)
    yield place, sealed
    yield job, [JobCompleted(id, 1, total, FILES)]


def _sha256(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@asynccontextmanager
async def servers(home: Path) -> AsyncGenerator[tuple[str, str]]:
    """The addresses of a NATS and a Postgres, configured as `mllm up` does."""
    data = DataDir(home)
    for directory in (data.run, data.logs):
        directory.mkdir()
    prepared = await embedded_postgres.prepare(data)
    postgres = Server(prepared.part, prepared.url, home / "postgres.log")
    queue = nats_server(home / "nats-home")
    try:
        await queue.start()
        await postgres.start()
        yield queue.url, postgres.url
    finally:
        queue.stop()
        postgres.stop()


async def main() -> None:
    with TemporaryDirectory(prefix="mllm-bench-") as home:
        async with servers(Path(home)) as (nats_url, database_url):
            rates = await measure(nats_url, database_url)
    for rate in rates:
        print(f"fetch {rate.fetched:9,.0f}/s  rebuild {rate.rebuilt:9,.0f}/s  {rate.ratio:.2f}")
    print(f"median ratio {statistics.median(rate.ratio for rate in rates):.2f}")


if __name__ == "__main__":
    gc.set_threshold(50_000, 20, 20)  # as the role does
    uvloop.run(main())
