"""Turning what the log says into work: the only writer of tasks and of their schedules.

Level-triggered: an event only wakes it. It then looks at the job as it is now and makes the queue
match, so late, repeated and reordered deliveries all do the right thing.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from urllib.parse import unquote

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig
from opentelemetry import propagate, trace

from processors.work import QueueError, Raced, Task, WorkQueue, work_class
from schemas.job import Job, Look, Seen
from schemas.log import LogUnavailable, decode_events
from schemas.message import Context, Rejected
from schemas.upcasting import UnknownEvent
from schemas.weights import WeightsReserved
from schemas.wire import ACTOR, CORRELATION, TRACEPARENT, TYPES, stream_of

DURABLE = "dispatch"
BATCH = 64
ACK_WAIT = 30.0

WAKES = frozenset(
    {
        "job.requested",
        "job.attempt.failed",
        "job.paused",
        "job.resumed",
        "job.priority.changed",
        "job.cancelled",
        "job.completed",
        "job.failed",
        "weights.reserved",
    }
)

logger = logging.getLogger(__name__)
tracer = trace.get_tracer("mllm.dispatch")


class Claims(Protocol):
    """What dispatch needs of the write side to finish what a crash left half done."""

    async def complete_claim(self, claim: WeightsReserved, context: Context) -> object:
        """Make the job of a claim, should it not exist yet."""
        ...

    async def settle(self, job: Job, context: Context) -> None:
        """End the claim of a job that has ended."""
        ...


class Claimed(NamedTuple):
    """A claim on a target, and who made it in what course of events."""

    claim: WeightsReserved
    actor: str
    correlation: str
    traceparent: str


class Woken(NamedTuple):
    """A job that something happened to. `claimed` is set when that was its claim."""

    namespace: str
    job: str
    claimed: Claimed | None = None


def consumer_config() -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=DURABLE,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        max_deliver=-1,
        max_ack_pending=1000,
    )


class Dispatcher:
    """Keeps the work queue true to the log. `ensure` may be called by anyone at any time."""

    def __init__(self, queue: WorkQueue, look: Look, claims: Claims) -> None:
        self._queue = queue
        self._look = look
        self._claims = claims

    async def run(self, nats: Client, stream: str) -> None:
        """Follow the log under a durable name, for ever."""
        js = nats.jetstream()
        commits = await js.pull_subscribe_bind(DURABLE, stream=stream)
        while True:
            try:
                messages = await commits.fetch(BATCH, timeout=5)
            except NatsTimeout:
                continue
            except QueueError as error:
                logger.warning("the log can not be followed now: %s", error)
                await asyncio.sleep(1)
                continue
            await self._work_off(messages)

    async def _work_off(self, messages: list[Msg]) -> None:
        """Each job once, however many of its events came; what failed, or is not understood, is
        delivered again, to a newer build perhaps."""
        groups: dict[tuple[str, str], list[Msg]] = {}
        claims: dict[tuple[str, str], Claimed] = {}
        idle: list[Msg] = []
        for message in messages:
            try:
                woken = wakes(message)
            except (UnknownEvent, msgspec.MsgspecError) as error:
                logger.warning("left to a build that understands it: %s", error)
                continue
            if woken is None:
                idle.append(message)
                continue
            groups.setdefault(woken[:2], []).append(message)
            if woken.claimed is not None:
                claims[woken[:2]] = woken.claimed
        for message in idle:
            await message.ack()
        work = (self._react(*key, claims.get(key), group) for key, group in groups.items())
        await asyncio.gather(*work)

    async def _react(
        self, namespace: str, job: str, claimed: Claimed | None, messages: list[Msg]
    ) -> None:
        try:
            if claimed is not None:
                # in the name of whoever made the claim, as if nothing had come in between
                wish = msgspec.structs.replace(
                    context(namespace, job, "claim"),
                    actor=claimed.actor,
                    correlation=claimed.correlation,
                    traceparent=claimed.traceparent,
                )
                await self._claims.complete_claim(claimed.claim, wish)
            await self.ensure(namespace, job)
            for message in messages:
                await message.ack()
        except (*QueueError, LogUnavailable, Raced, Rejected) as error:
            logger.warning("job %s is not dispatched yet: %s", job, error)

    async def ensure(self, namespace: str, job: str) -> None:
        """Make the queue match the job. Raises `LogUnavailable`, `Raced`, nats errors."""
        for _ in range(5):
            mark = await self._queue.mark()
            seen = await self._look(namespace, job)
            parent = propagate.extract({"traceparent": seen.traceparent})
            try:
                with tracer.start_as_current_span("dispatch", context=parent):
                    return await self._match(namespace, seen, mark)
            except Raced:
                await asyncio.sleep(0.05)
        raise Raced(job)

    async def _match(self, namespace: str, seen: Seen, mark: int) -> None:
        job = seen.job
        match job.status:
            case "pending":
                await self._queue.put(task_of(namespace, seen), mark=mark)
            case "retrying":
                await self._queue.put(task_of(namespace, seen), job.next_attempt_at, mark=mark)
            case "running" | "absent":
                return
            case "cancelled" if job.attempt and not job.keep_partial:
                await self._claims.settle(job, context(namespace, job.id, "settle"))
                await self._queue.put(task_of(namespace, seen), mark=mark)
            case "paused" | "completed" | "failed" | "cancelled":
                await self._claims.settle(job, context(namespace, job.id, "settle"))
                await self._queue.withdraw(namespace, job.id, mark=mark)

    async def redispatch(self, namespace: str, seen: Seen) -> None:
        """Put a task for a job whose worker is gone, or whose task was lost."""
        await self._queue.put(task_of(namespace, seen))


def wakes(message: Msg) -> Woken | None:
    headers: Mapping[str, str] = message.headers or {}
    types = tuple(headers.get(TYPES, "").split(","))
    if WAKES.isdisjoint(types):
        return None
    namespace, aggregate, id = stream_of(message.subject)
    if aggregate == "job":
        return Woken(namespace, id)
    claims = [e for e in decode_events(message.data, types) if isinstance(e, WeightsReserved)]
    claimed = Claimed(
        claims[-1],
        unquote(headers[ACTOR]),
        unquote(headers[CORRELATION]),
        unquote(headers.get(TRACEPARENT, "")),
    )
    return Woken(namespace, claims[-1].job, claimed)


def task_of(namespace: str, seen: Seen) -> Task:
    job = seen.job
    return Task(work_class(job), job.store, job.priority, namespace, job.id, seen.position)


def context(namespace: str, job: str, step: str) -> Context:
    """Dispatch speaks for itself; its commands are named so that each is granted once a job."""
    return Context(
        command=f"dispatch/{job}/{step}",
        at=datetime.now(UTC),
        actor="dispatch",
        namespace=namespace,
        correlation=job,
        causation=job,
    )
