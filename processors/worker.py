"""Workers: slots that take tasks, hold jobs for as long as they work on them, and say how it ended.

A task whose attempt is alive elsewhere is put back, in case that one ends without a word. Otherwise
the worker asks the log for the next attempt: that append is the fencing token, and there is one
winner.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import uuid4

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from opentelemetry import propagate, trace
from prometheus_client import Counter, Gauge

from processors.attempt import Attempt, Done, Failed, Halted, Hold, Result, Runner, Writer
from processors.ending import end
from processors.fetch.errors import Fenced
from processors.watchdog import alive
from processors.work import QueueError, Taken, WorkSource
from schemas.job import (
    AGGREGATE,
    CompleteJob,
    ConfirmStop,
    FailAttempt,
    Look,
    Seen,
    StartAttempt,
)
from schemas.live import Tick
from schemas.log import Dispatch, LogUnavailable, Stream
from schemas.message import Context, Rejected
from schemas.wire import subject_of

POLL_SECONDS = 1.0
LOOK_SECONDS = 15.0
NOT_OURS_NOW = frozenset({"fenced", "busy", "newer_log"})
"""Refusals of an attempt that another worker may make, or that this one may later."""

RUNNING = Gauge("mllm_attempts_running", "Attempts under way", ["kind"])
ENDS = Counter("mllm_attempts_total", "Attempts that ended, by how", ["kind", "end"])

logger = logging.getLogger(__name__)
tracer = trace.get_tracer("mllm.worker")


class Manners(msgspec.Struct, frozen=True):
    """How a worker behaves. Seconds; `slots` bounds what it does at once, per class of work."""

    name: str
    slots: int = 2
    lease: float = 60.0
    heartbeat: float = 0.4
    backoff: float = 2.0
    backoff_cap: float = 300.0
    attempts: int = 5


class Beats(Protocol):
    """What a worker needs of the live state."""

    async def say(self, tick: Tick) -> None: ...

    async def tick(self, namespace: str, job: str) -> Tick | None: ...


class Desk(NamedTuple):
    """What a worker reads, says and writes with."""

    look: Look
    dispatch: Dispatch
    beats: Beats
    writer: Writer


class Worker:
    """Takes the tasks of one class in one store. `runners` by kind of job."""

    def __init__(
        self,
        nats: Client,
        source: WorkSource,
        desk: Desk,
        runners: Mapping[str, Runner],
        manners: Manners,
        subjects: str,
    ) -> None:
        self._nats = nats
        self._source = source
        self._look, self._dispatch, self._beats, self._writer = desk
        self._runners = runners
        self._manners = manners
        self._subjects = subjects
        self._attempts: set[Attempt] = set()
        self._leaving = asyncio.Event()
        self._left = asyncio.Event()
        self._bell = asyncio.Event()

    async def run(self) -> None:
        """Work until `leave` is called and every attempt has handed its job over."""
        await self._source.open(self._bell)
        slots = [asyncio.create_task(self._slot()) for _ in range(self._manners.slots)]
        try:
            await asyncio.gather(*slots)  # not a TaskGroup: it cancels once
        finally:
            await end(*slots)
        self._left.set()

    async def leave(self) -> None:
        """Take no more, stop what is under way, and hand it to another worker at once."""
        self._leaving.set()
        for attempt in self._attempts:
            attempt.stop("shutdown")
        while not self._left.is_set():
            self._bell.set()
            await _either(self._left, 0.1)

    async def _slot(self) -> None:
        while not self._leaving.is_set():
            try:
                taken = await self._source.take()
            except QueueError as error:
                logger.debug("no task can be had now: %s", error)
                await _either(self._leaving, POLL_SECONDS)
                continue
            if taken is None:
                await _either(self._bell, POLL_SECONDS)
                self._bell.clear()
            else:
                await self._handle(taken)

    async def _handle(self, taken: Taken) -> None:
        try:
            await self._serve(taken)
        except (*QueueError, LogUnavailable, OSError) as error:
            logger.warning("job %s: %s; its task will come again", taken.job, error)
        except Fenced as error:
            logger.info("job %s goes on elsewhere: %s", taken.job, error)

    async def _serve(self, taken: Taken) -> None:
        seen = await self._look(taken.namespace, taken.job)
        job = seen.job
        if job.status == "completed" or (job.status == "cancelled" and not job.keep_partial):
            await self._runners[job.kind].clean(taken.namespace, job)
        if job.ended or job.status in ("absent", "paused"):
            await taken.done()
        elif await self._elsewhere(taken, seen):
            await taken.put_back(self._manners.lease)
        else:
            await self._attempt(taken, seen)

    async def _attempt(self, taken: Taken, seen: Seen) -> None:
        """One attempt, as a span of the trace that the job's request began."""
        kind = seen.job.kind
        parent = propagate.extract({"traceparent": seen.traceparent})
        with tracer.start_as_current_span(f"attempt {kind}", context=parent) as span:
            if attempt := await self._start(taken, seen):
                span.set_attribute("mllm.job", taken.job)
                span.set_attribute("mllm.attempt", attempt.job.attempt)
                with RUNNING.labels(kind).track_inprogress():
                    await self._work(taken, attempt)
            else:
                await taken.done()

    async def _elsewhere(self, taken: Taken, seen: Seen) -> bool:
        tick = await self._beats.tick(taken.namespace, taken.job)
        # a redelivery comes a lease after the last heartbeat, give or take two clocks
        lease = timedelta(seconds=self._manners.lease * 0.9)
        return alive(seen, tick, lease, datetime.now(UTC))

    async def _start(self, taken: Taken, seen: Seen) -> Attempt | None:
        """The next attempt, if the log grants it to us. Raises `Fenced` when it is not ours now:
        then the task stays in the queue."""
        hold = Hold(self._manners.lease)
        context = Context(
            command=f"{taken.job}/start/{uuid4().hex}",
            at=datetime.now(UTC),
            actor=f"worker:{self._manners.name}",
            namespace=taken.namespace,
            correlation=seen.correlation,
            causation=taken.job,
        )
        start = StartAttempt(taken.job, seen.job.attempt + 1, self._manners.name)
        try:
            await self._dispatch(start, context)
        except Rejected as refusal:
            if refusal.code in NOT_OURS_NOW:
                raise Fenced(str(refusal)) from refusal
            logger.info("job %s is not started: %s", taken.job, refusal)
            return None
        now = await self._look(taken.namespace, taken.job)
        if now.job.status != "running" or now.job.attempt != start.attempt:
            return None
        return Attempt(now.job, context, hold, self._dispatch, self._writer)

    async def _work(self, taken: Taken, attempt: Attempt) -> None:
        attempt.note(f"attempt {attempt.job.attempt} by {self._manners.name}")
        wake = asyncio.Event()
        subscription = await self._nats.subscribe(self._subject(attempt), cb=_ringer(wake))
        self._attempts.add(attempt)
        if self._leaving.is_set():
            attempt.stop("shutdown")
        keeper = asyncio.create_task(self._keep(taken, attempt, wake))
        try:
            result = await self._run(attempt)
            await self._conclude(attempt, result)
        finally:
            await end(keeper)
            self._attempts.discard(attempt)
            await subscription.unsubscribe()
        await self._let_go(taken, attempt, result)

    def _subject(self, attempt: Attempt) -> str:
        job = Stream(attempt.namespace, AGGREGATE, attempt.job.id)
        return subject_of(self._subjects, job)

    async def _run(self, attempt: Attempt) -> Result:
        runner = self._runners[attempt.job.kind]
        while True:
            result = await runner.run(attempt)
            if not isinstance(result, Halted) or not await self._resumed(attempt, result):
                return result

    async def _resumed(self, attempt: Attempt, halted: Halted) -> bool:
        """Say that bytes have stopped, or find that the job was asked to go on meanwhile."""
        if halted.reason in ("shutdown", "fenced"):
            return False
        try:
            await attempt.say(ConfirmStop(attempt.job.id, attempt.job.attempt))
        except Rejected as refusal:
            if refusal.code == "fenced":
                raise Fenced(str(refusal)) from refusal
            attempt.go_on()
            return True
        return False

    async def _conclude(self, attempt: Attempt, result: Result) -> None:
        job = attempt.job
        ENDS.labels(job.kind, _told(result)).inc()
        try:
            match result:
                case Done(bytes=bytes, files=files):
                    await attempt.say(CompleteJob(job.id, job.attempt, bytes, files))
                case Failed():
                    await attempt.say(self._failure(attempt, result))
                    attempt.note(f"{result.code}: {result.reason}", "error")
                case Halted():
                    pass
        except Rejected as refusal:
            raise Fenced(str(refusal)) from refusal

    async def _let_go(self, taken: Taken, attempt: Attempt, result: Result) -> None:
        """Say so in the last of all heartbeats: whoever reads it need not wait for the lease."""
        if isinstance(result, Halted) and result.reason == "fenced":
            return
        await self._beats.say(attempt.tick(released=True))
        if isinstance(result, Halted) and result.reason == "shutdown":
            await taken.hand_over()
        else:
            await taken.done()

    def _failure(self, attempt: Attempt, failed: Failed) -> FailAttempt:
        job = attempt.job
        pause = failed.retry_after or backoff(self._manners, job.failures)
        return FailAttempt(
            job.id,
            job.attempt,
            failed.code,
            failed.reason,
            failed.retryable,
            datetime.now(UTC) + timedelta(seconds=pause),
            self._manners.attempts,
            failed.remedy,
        )

    async def _keep(self, taken: Taken, attempt: Attempt, wake: asyncio.Event) -> None:
        """Heartbeats while the runner runs; the log is read on every wake and now and then."""
        looked = time.monotonic()
        wake.set()  # the job may have changed between its start and the subscription
        while True:
            await self._beat(taken, attempt)
            if wake.is_set() or time.monotonic() - looked > LOOK_SECONDS:
                wake.clear()
                await self._heed(attempt)
                looked = time.monotonic()
            if not attempt.hold.held:
                attempt.stop("fenced")
                return
            await _either(wake, self._manners.heartbeat)

    async def _beat(self, taken: Taken, attempt: Attempt) -> None:
        sent = time.monotonic()
        if not self._nats.is_connected:
            return  # it would be kept, and be taken for a sign of life when it comes at last
        try:
            await self._beats.say(attempt.tick())
            await taken.extend()
        except QueueError as error:
            logger.debug("job %s: no heartbeat: %s", attempt.job.id, error)
        else:
            attempt.hold.renew(sent)

    async def _heed(self, attempt: Attempt) -> None:
        """Do as the log says: stop when asked, and know when the job is someone else's."""
        try:
            job = (await self._look(attempt.namespace, attempt.job.id)).job
        except LogUnavailable as error:
            logger.debug("job %s can not be read now: %s", attempt.job.id, error)
            return
        if job.attempt != attempt.job.attempt:
            attempt.stop("fenced")
        elif job.stopping and attempt.stopping != job.stopping:
            attempt.stop(job.stopping)


def _told(result: Result) -> str:
    """How an attempt ended, in a word, for the metrics."""
    match result:
        case Done():
            return "done"
        case Failed(code=code):
            return code
        case Halted(reason=reason):
            return reason


def backoff(manners: Manners, failures: int) -> float:
    """Seconds until the next attempt: doubling, bounded, and spread so that a crowd thins out."""
    full: float = min(manners.backoff * 2**failures, manners.backoff_cap)
    return full * random.uniform(0.5, 1.0)


async def _either(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return


def _ringer(wake: asyncio.Event) -> Callable[[Msg], Awaitable[None]]:
    async def ring(_: Msg) -> None:
        wake.set()

    return ring
