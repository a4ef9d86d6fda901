"""One attempt at one job: its hold on the job, its voice on the log, and what may end it.

The hold is a lease. It is renewed by every heartbeat that NATS has stored, and it ends by this
machine's monotonic clock well before anyone else may believe it ended: a worker that was paused,
or cut off, finds its hold gone and can no longer write, to the log or to the disk.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeAlias

import msgspec

from processors.fetch.errors import Fenced
from schemas.job import FinishedFile, Job, Phase, ReportProgress
from schemas.live import ActiveFile, Level, Tick
from schemas.log import Dispatch, LogUnavailable, Outcome
from schemas.message import Command, Context, Rejected

MARGIN = 0.75
"""The part of the lease that a hold uses; the rest is for clocks and for writes under way."""

FINISHED_PER_COMMIT = 500
PROGRESS_SECONDS = 60.0
PROGRESS_SHARE = 0.05

FIRST_PHASE: Mapping[str, Phase] = {"install": "resolve", "verify": "verify", "delete": "remove"}

StopReason: TypeAlias = Literal["pause", "cancel", "shutdown", "fenced"]


class Hold:
    """The right of one attempt to write. Thread-safe; `check` is cheap enough for every write."""

    def __init__(self, lease: float) -> None:
        self._lease = lease * MARGIN
        self._deadline = time.monotonic() + self._lease

    def renew(self, since: float) -> None:
        """The lease runs anew from `since` (monotonic): when the heartbeat was sent."""
        self._deadline = max(self._deadline, since + self._lease)

    def lose(self) -> None:
        self._deadline = float("-inf")
        self._lease = float("-inf")

    @property
    def held(self) -> bool:
        return time.monotonic() < self._deadline

    def check(self) -> None:
        """Raises `Fenced` when the hold is over."""
        if not self.held:
            raise Fenced


class Counts(msgspec.Struct, frozen=True):
    """How far an attempt is. Bytes; `rate` is bytes a second."""

    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    rate: float = 0.0
    active: tuple[ActiveFile, ...] = ()
    note: str = ""


class Done(msgspec.Struct, frozen=True):
    """The job's work is done."""

    bytes: int
    files: int


class Halted(msgspec.Struct, frozen=True):
    """Bytes have stopped, as was asked."""

    reason: StopReason


class Failed(msgspec.Struct, frozen=True):
    """The attempt could not do it. `code` is stable; `retry_after` is in seconds, if known."""

    code: str
    reason: str
    retryable: bool
    remedy: str = ""
    retry_after: float | None = None


Result: TypeAlias = Done | Halted | Failed


class Writer(Protocol):
    """Where the lines of a job's log go."""

    async def write(self, namespace: str, job: str, text: str, level: Level = "info") -> None: ...


class Attempt:
    """What a runner is given: the job, the hold, and ways to speak and to hear of an end."""

    def __init__(
        self, job: Job, context: Context, hold: Hold, dispatch: Dispatch, writer: Writer
    ) -> None:
        self.job = job
        self.namespace = context.namespace
        self.hold = hold
        self.stopping: StopReason | None = None
        self.phase: Phase = FIRST_PHASE[job.kind]
        self.counts: Callable[[], Counts] = Counts
        self._context = context
        self._dispatch = dispatch
        self._writer = writer
        self._on_stop: list[Callable[[], None]] = []
        self._leaving = False
        self._said = 0
        self._reported = Counts()
        self._reported_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._lines: set[asyncio.Task[None]] = set()

    def stop(self, reason: StopReason) -> None:
        """Ask the runner to stop. A pause that becomes a cancel, or a loss, replaces the reason."""
        self.stopping = reason
        self._leaving = self._leaving or reason == "shutdown"
        if reason == "fenced":
            self.hold.lose()
        for tell in self._on_stop:
            tell()

    def on_stop(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when the attempt is to stop; at once if it already is."""
        self._on_stop.append(tell)
        if self.stopping:
            tell()

    def go_on(self) -> None:
        """What was asked to stop was asked to go on before it had stopped; a worker that leaves
        does so all the same."""
        self.stopping = "shutdown" if self._leaving else None
        self._on_stop.clear()

    async def say(self, command: Command) -> Outcome:
        """Send a command as this attempt; granted once, however often it must be repeated.

        Keeps trying while the log is away, unless the worker leaves: then until its lease is over.
        Raises `Rejected`; `Fenced` when another worker has to say it.
        """
        self._said += 1
        name = f"{self.job.id}/{self.job.attempt}/{self._said}"
        while True:
            context = msgspec.structs.replace(self._context, command=name, at=datetime.now(UTC))
            try:
                return await self._dispatch(command, context)
            except LogUnavailable:
                if self._leaving:
                    self.hold.check()
            except Rejected as refusal:
                if refusal.code == "newer_log":
                    raise Fenced(str(refusal)) from refusal
                if refusal.code != "busy":
                    raise
            await asyncio.sleep(0.5)

    async def enter(self, phase: Phase, counts: Counts | None = None) -> None:
        """Begin a phase, on the log. Raises `Fenced` when the job is no longer this attempt's."""
        self.phase = phase
        await self.report(counts or self.counts(), ())

    async def report(self, counts: Counts, finished: Sequence[FinishedFile]) -> None:
        """Record how far the attempt is, and which files it finished since the last time."""
        parts = [
            finished[start : start + FINISHED_PER_COMMIT]
            for start in range(0, len(finished), FINISHED_PER_COMMIT)
        ]
        for part in parts or [()]:
            await self._record(counts, tuple(part))
        self._reported, self._reported_at = counts, time.monotonic()

    def due(self, counts: Counts) -> bool:
        """Whether there is enough news for the log: 5 % of the bytes, and a minute."""
        grown = counts.bytes_done - self._reported.bytes_done
        enough = grown >= counts.bytes_total * PROGRESS_SHARE
        return enough and time.monotonic() - self._reported_at >= PROGRESS_SECONDS

    async def _record(self, counts: Counts, finished: tuple[FinishedFile, ...]) -> None:
        command = ReportProgress(
            self.job.id,
            self.job.attempt,
            self.phase,
            counts.bytes_done,
            counts.bytes_total,
            counts.files_done,
            counts.files_total,
            finished,
        )
        try:
            await self.say(command)
        except Rejected as refusal:
            raise Fenced(str(refusal)) from refusal

    def note(self, text: str, level: Level = "info") -> None:
        """Add a line to the job's log. May be called from any thread; never waits."""
        self._loop.call_soon_threadsafe(self._write, text, level)

    def _write(self, text: str, level: Level) -> None:
        line = self._loop.create_task(self._writer.write(self.namespace, self.job.id, text, level))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    def tick(self, released: bool = False) -> Tick:
        """The attempt's heartbeat as of now."""
        counts = self.counts()
        return Tick(
            job=self.job.id,
            namespace=self.namespace,
            attempt=self.job.attempt,
            worker=self.job.worker,
            at=datetime.now(UTC),
            phase=self.phase,
            bytes_done=counts.bytes_done,
            bytes_total=counts.bytes_total,
            files_done=counts.files_done,
            files_total=counts.files_total,
            rate=counts.rate,
            active=counts.active,
            note=counts.note,
            released=released,
        )


class Runner(Protocol):
    """What one kind of job does. One file each: install, verify, delete."""

    async def run(self, attempt: Attempt) -> Result:
        """Do the job's work or find it done. Raises `Fenced`; every other end is a result."""
        ...

    async def clean(self, namespace: str, job: Job) -> None:
        """Remove what the job's attempts left on the disk."""
        ...
