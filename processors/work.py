"""Who does what now: the work queue on JetStream, its tasks and their schedules.

At most one task per job waits in `WORK`. A task is a wake, not an order: whoever takes it looks at
the job and makes the world match. `<class>` keeps slow downloads from blocking quick disk work;
`<p0..p2>` are three queues, the first asked first.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias, cast

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    Header,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from schemas.job import Job, Priority

WorkClass: TypeAlias = Literal["fetch", "disk"]
CLASSES: tuple[WorkClass, ...] = ("fetch", "disk")
PRIORITIES: tuple[Priority, ...] = (0, 1, 2)

STAMP = "Mllm-Position"
NO_WAIT = b'{"batch":1,"no_wait":true}'
WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
"""The second is a cluster's, while another message to the subject is on its way."""
PATIENCE = 5.0


class Raced(Exception):
    """Another dispatcher put a task there in between; look again."""


class Task(msgspec.Struct, frozen=True):
    """A job that needs a worker. `position` is the job's newest commit when that was decided."""

    work_class: WorkClass
    store: str
    priority: Priority
    namespace: str
    job: str
    position: int

    @property
    def subject(self) -> str:
        place = f"{self.work_class}.{self.store}.p{self.priority}"
        return f"{place}.{self.namespace}.{self.job}"


def work_class(job: Job) -> WorkClass:
    """Only bringing bytes from the Hub is slow enough for a queue of its own."""
    return "fetch" if job.kind == "install" and not job.ended else "disk"


class WorkNames(msgspec.Struct, frozen=True):
    prefix: str = ""

    @property
    def stream(self) -> str:
        return f"{self.prefix}WORK"

    @property
    def work(self) -> str:
        return f"{self.prefix}work"

    @property
    def schedules(self) -> str:
        return f"{self.prefix}wsched"

    def durable(self, work: WorkClass, store: str, priority: Priority) -> str:
        return f"{work}-{store}-p{priority}"


def stream_config(names: WorkNames, *, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=names.stream,
        subjects=[f"{names.work}.>", f"{names.schedules}.>"],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=True,
        allow_msg_schedules=True,
    )


def consumer_configs(names: WorkNames, store: str, lease: float) -> Sequence[ConsumerConfig]:
    """The durable consumers through which the workers of one store take tasks."""
    return [
        ConsumerConfig(
            durable_name=names.durable(work, store, priority),
            filter_subject=f"{names.work}.{work}.{store}.p{priority}.>",
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=lease,
            max_deliver=-1,
            max_ack_pending=10_000,
        )
        for work in CLASSES
        for priority in PRIORITIES
    ]


class WorkQueue:
    """The dispatcher's side: the only writer of tasks and schedules."""

    def __init__(self, nats: Client, names: WorkNames) -> None:
        self._js = nats.jetstream(timeout=PATIENCE)
        self._names = names

    async def mark(self) -> int:
        """A place in the queue. What comes in after it was put by someone who knew more than was
        known before, and is left alone."""
        return (await self._js.stream_info(self._names.stream)).state.last_seq + 1

    async def put(self, task: Task, at: datetime | None = None, *, mark: int | None = None) -> None:
        """Have exactly this task wait for a worker, now or from `at` on. `mark` is from before
        the job was looked at. Raises `Raced`."""
        mark = mark or await self.mark()
        if at is None and await self._waiting(task):
            return
        await self.withdraw(task.namespace, task.job, mark=mark)
        work = f"{self._names.work}.{task.subject}"
        headers: dict[str, str] = {STAMP: str(task.position)}
        if at is None:
            subject = work
            headers[Header.EXPECTED_LAST_SUBJECT_SEQUENCE] = "0"
        else:
            subject = f"{self._names.schedules}.{task.subject}"
            headers[Header.SCHEDULE] = f"@at {at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
            headers[Header.SCHEDULE_TARGET] = work
        try:
            await self._js.publish(subject, b"", headers=headers)
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                raise Raced(task.subject) from error
            raise

    async def withdraw(self, namespace: str, job: str, *, mark: int | None = None) -> None:
        """No task and no schedule for this job, of those before the mark. One that a worker already
        took is forgotten."""
        for root in (self._names.work, self._names.schedules):
            subject = f"{root}.*.*.*.{namespace}.{job}"
            await self._js.purge_stream(self._names.stream, seq=mark, subject=subject)

    async def _waiting(self, task: Task) -> bool:
        """Whether a task as fresh as this one is already there."""
        subject = f"{self._names.work}.{task.subject}"
        try:
            found = await self._js.get_last_msg(self._names.stream, subject, direct=True)
        except NotFoundError:
            return False
        headers = cast("Mapping[str, str]", found.headers or {})
        return int(headers.get(STAMP, "0")) >= task.position


class Taken:
    """A task in one worker's hands, until `done` or `hand_over`."""

    def __init__(self, message: Msg) -> None:
        tokens = message.subject.split(".")
        self._message = message
        self.namespace, self.job = tokens[-2], tokens[-1]
        self.deliveries = message.metadata.num_delivered or 1

    async def extend(self) -> None:
        """Still at it: the lease of the delivery starts again."""
        await self._message.in_progress()

    async def done(self) -> None:
        """Take it off the queue. Should the server not hear of it, the task comes again and finds
        nothing to do; it does not answer at all when the task was withdrawn meanwhile."""
        await self._message.ack()

    async def put_back(self, seconds: float) -> None:
        """Let it come again after so long."""
        await self._message.nak(delay=seconds)

    async def hand_over(self) -> None:
        """Give the task to another worker at once."""
        await self._message.nak()


class WorkSource:
    """A worker's side: the tasks of one class in one store. `open` before anything else."""

    def __init__(self, nats: Client, names: WorkNames, work: WorkClass, store: str) -> None:
        self._nats = nats
        self._names = names
        self._class: WorkClass = work
        self._store = store
        self._inbox = nats.new_inbox()
        self._answers: asyncio.Queue[Msg] = asyncio.Queue()
        self._turn = asyncio.Lock()
        self._requests = 0

    async def ready(self) -> bool:
        """Whether the consumers of this store exist: `mllm migrate --store` makes them."""
        js = self._nats.jetstream(timeout=PATIENCE)
        durable = self._names.durable(self._class, self._store, 0)
        try:
            await js.consumer_info(self._names.stream, durable)
        except NotFoundError:
            return False
        return True

    async def open(self, bell: asyncio.Event) -> None:
        """Get ready to take, and let every new task ring `bell` (schedules fire silently)."""

        async def ring(_: Msg) -> None:
            bell.set()

        subject = f"{self._names.work}.{self._class}.{self._store}.>"
        await self._nats.subscribe(f"{self._inbox}.*", cb=self._answers.put)
        await self._nats.subscribe(subject, cb=ring)

    async def take(self) -> Taken | None:
        """The most urgent task, or None. Raises nats errors."""
        async with self._turn:
            for priority in PRIORITIES:
                if task := await self._next(
                    self._names.durable(self._class, self._store, priority)
                ):
                    return task
        return None

    async def _next(self, durable: str) -> Taken | None:
        self._requests += 1
        reply = f"{self._inbox}.{self._requests}"
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._names.stream}.{durable}"
        await self._nats.publish(subject, NO_WAIT, reply=reply)
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self._answers.get()
                if answer.reply.startswith("$JS.ACK."):
                    return Taken(answer)  # late ones too: the server has given them to us
                if answer.subject == reply:
                    return None


QueueError = (TimeoutError, NatsError)
