"""The write side and the queue on a real NATS, with runners that do as a test says."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import nats
from nats.aio.client import Client
from ulid import ULID

from commands import jetstream
from commands.dispatch import Dispatcher as Commands
from commands.jetstream import JetStreamLog, LogNames
from commands.looking import Jobs
from commands.ordering import Orders
from processors import dispatch, job_logs, live, work
from processors.attempt import Attempt, Done, Halted, Result
from processors.dispatch import Dispatcher
from processors.job_logs import Logs, LogStreamNames
from processors.live import Live, LiveNames
from processors.work import WorkClass, WorkNames, WorkQueue, WorkSource
from processors.worker import Desk, Manners, Worker
from schemas.job import BeginCommit, InstallSpec, Job, Order, Seen
from schemas.live import StoreBeat, Tick
from schemas.log import Stream
from schemas.message import Command, Context
from tests.support import PATIENCE, eventually

STORE = "default"
LEASE = 600.0
"""Seconds: over in no test that does not name another, however slow the machine is."""

SPEC = InstallSpec("org/model", "main", "c" * 40, "k" * 64, files=1, bytes=10)


class Script:
    """A runner that works until the test lets it end, or the attempt is told to stop."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.cleaned: list[str] = []
        self.results: asyncio.Queue[Result] = asyncio.Queue()

    async def run(self, attempt: Attempt) -> Result:
        self.attempts.append(attempt)
        stopped = asyncio.Event()
        attempt.on_stop(stopped.set)
        told = asyncio.create_task(self.results.get())
        stop = asyncio.create_task(stopped.wait())
        await asyncio.wait({told, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if told.done():
            return await _finish(attempt, told.result())
        told.cancel()
        assert attempt.stopping is not None
        return Halted(attempt.stopping)

    async def clean(self, namespace: str, job: Job) -> None:
        self.cleaned.append(job.id)

    def end(self, result: Result | None = None) -> None:
        self.results.put_nowait(result or Done(10, 1))


async def _finish(attempt: Attempt, result: Result) -> Result:
    """What an install does before it says that it is done."""
    if isinstance(result, Done):
        await attempt.say(BeginCommit(attempt.job.id, attempt.job.attempt, "m" * 64))
    return result


class Steady(Live):
    """Says it again until it is stored: a machine that stalls takes longer than a worker waits."""

    async def say(self, tick: Tick) -> None:
        while True:
            with suppress(TimeoutError):
                return await super().say(tick)

    async def say_store(self, beat: StoreBeat) -> None:
        while True:
            with suppress(TimeoutError):
                return await super().say_store(beat)


class Rig:
    """Everything that turns a wish into work; workers are added with `worker`."""

    def __init__(self, connection: Client, prefix: str, lease: float) -> None:
        self.nats = connection
        self.names = LogNames(prefix)
        self.work_names = WorkNames(prefix)
        self.lease = lease
        self.log = JetStreamLog(connection, self.names, patience=PATIENCE)
        self.commands = Commands(self.log)
        self.orders = Orders(self.log, self.commands)
        self.look = Jobs(self.log)
        self.live = Steady(connection, LiveNames(prefix))
        self.logs = Logs(connection, LogStreamNames(prefix))
        self.queue = WorkQueue(connection, self.work_names)
        self.dispatcher = Dispatcher(self.queue, self.look, self.orders)
        self.desk = Desk(self.look, self.commands, self.live, self.logs)
        self.script = Script()
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        js = self.nats.jetstream()
        prefix = self.names.prefix
        for config in (
            jetstream.stream_config(self.names, replicas=1, epoch="e", max_bytes=1 << 30),
            work.stream_config(self.work_names, replicas=1),
            live.stream_config(LiveNames(prefix), replicas=1),
            job_logs.stream_config(LogStreamNames(prefix), replicas=1),
        ):
            await js.add_stream(config)
        await js.add_consumer(self.names.stream, dispatch.consumer_config())
        for consumer in work.consumer_configs(self.work_names, STORE, self.lease):
            await js.add_consumer(self.work_names.stream, consumer)
        await self.log.start()

    def dispatch(self) -> None:
        self.run(self.dispatcher.run(self.nats, self.names.stream))

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def worker(
        self,
        name: str = "w1",
        script: Script | None = None,
        kind: WorkClass = "fetch",
        desk: Desk | None = None,
        client: Client | None = None,
        lease: float | None = None,
    ) -> Worker:
        """`lease`: another than that after which the queue brings a task again."""
        runner, client = script or self.script, client or self.nats
        worker = Worker(
            nats=client,
            source=WorkSource(client, self.work_names, kind, STORE),
            desk=desk or self.desk,
            runners={"install": runner},
            manners=Manners(
                name=name,
                slots=1,
                lease=lease or self.lease,
                heartbeat=0.05,
                backoff=0.05,
                attempts=3,
            ),
            subjects=self.names.root,
        )
        self.run(worker.run())
        return worker

    async def stop(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while pending := [task for task in self.tasks if not task.done()]:
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending, timeout=0.5)
        ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.log.stop()
        if errors := [end for end in ends if isinstance(end, Exception)]:
            raise ExceptionGroup("what ran behind the test failed", errors)

    async def order(self, target: str = "org/model") -> str:
        order = Order(str(ULID()), target, STORE, 1, SPEC)
        await self.orders.install(order, self.context())
        return order.id

    def context(self) -> Context:
        return Context(command=str(ULID()), at=datetime.now(UTC), actor="test")

    async def say(self, command: Command) -> None:
        await self.commands(command, self.context())

    async def seen(self, job: str) -> Seen:
        return await self.look("default", job)

    async def becomes(self, job: str, status: str) -> None:
        async def holds() -> bool:
            return (await self.seen(job)).job.status == status

        try:
            await eventually(holds)
        except TimeoutError:
            history, queue = await self.types(job), await self.tasks_waiting()
            raise AssertionError(f"not {status}: {history}, in the queue: {queue}") from None

    async def tasks_waiting(self) -> Sequence[str]:
        js = self.nats.jetstream()
        info = await js.stream_info(self.work_names.stream, ">")
        return sorted(info.state.subjects or {})

    async def types(self, job: str) -> Sequence[str]:
        history = await self.log.load(Stream("default", "job", job))
        return [kind for commit in history for kind in commit.types]


@asynccontextmanager
async def rig(url: str, prefix: str, lease: float = LEASE) -> AsyncGenerator[Rig]:
    connection = await nats.connect(url)
    made = Rig(connection, prefix, lease)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await connection.close()
