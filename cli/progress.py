"""How far a job is: what events, live counts and rows say, folded into one picture of it.

Knows neither clocks nor terminals. A job is done when the log says so: until then the picture
never shows 100 %.
"""

from datetime import datetime
from typing import Self, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from schemas.api.jobs import JobRow, JobStatus
from schemas.job import (
    JobAttemptFailed,
    JobCancelled,
    JobCancelRequested,
    JobCommitStarted,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobPaused,
    JobPauseRequested,
    JobPriorityChanged,
    JobProgress,
    JobRequested,
    JobResumed,
    JobStarted,
)
from schemas.live import ActiveFile, Tick
from schemas.message import Value

News: TypeAlias = JobRow | Tick | JobEvent


class Progress(Value):
    """A job as of `position`. Bytes are bytes, `rate` bytes a second, `note` what is in the way."""

    job: str
    type: str
    target: str
    status: JobStatus
    model: str = ""
    phase: str = ""
    attempt: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    rate: float = 0.0
    active: tuple[ActiveFile, ...] = ()
    note: str = ""
    next_attempt_at: datetime | None = None
    code: str = ""
    reason: str = ""
    remedy: str = ""
    correlation: str = ""
    position: int = 0

    @property
    def ended(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")

    @property
    def settled(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.ended

    def hindered(self, note: str) -> Self:
        return replace(self, note=note, rate=0.0)

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1; below 1 until the job is completed."""
        if self.status == "completed":
            return 1.0
        if not self.bytes_total:
            return 0.0
        return min(self.bytes_done / self.bytes_total, 0.999)

    @property
    def percent(self) -> int:
        """Rounded down: 99 is the most before the end."""
        return 100 if self.status == "completed" else min(int(self.fraction * 100), 99)

    @property
    def seconds_left(self) -> float | None:
        """By the present rate; None when it does not move."""
        left = self.bytes_total - self.bytes_done
        return left / self.rate if self.rate > 0 and left > 0 else None


def begin(row: JobRow) -> Progress:
    """The picture a row gives."""
    return Progress(
        job=row.id,
        type=row.type,
        target=row.target,
        status=row.status,
        model=row.model,
        phase=row.phase,
        attempt=row.attempt,
        bytes_done=row.bytes_done,
        bytes_total=row.bytes_total,
        files_done=row.files_done,
        files_total=row.files_total,
        next_attempt_at=row.next_attempt_at,
        code=row.code,
        reason=row.reason,
        remedy=row.remedy,
        correlation=row.correlation,
        position=row.position,
        note=_stopping(row.stopping),
    )


def advance(progress: Progress, news: News, position: int = 0) -> Progress:
    """The picture after `news`, which an event tells at `position`."""
    match news:
        case JobRow():
            return _seen(progress, begin(news))
        case Tick():
            return _ticked(progress, news)
        case _:
            return replace(_happened(progress, news), position=position)


def decode(data: bytes | msgspec.Raw) -> JobEvent | None:
    """A job's event; None for one of a type this build does not know."""
    try:
        event: JobEvent = _events.decode(data)
    except msgspec.ValidationError:
        return None
    return event


_events = msgspec.json.Decoder[JobEvent](JobEvent)


def _seen(progress: Progress, row: Progress) -> Progress:
    """Rows are coarser than live counts: within one attempt, bytes do not go back to theirs."""
    if row.attempt != progress.attempt:
        return row
    return replace(
        row,
        bytes_done=max(row.bytes_done, progress.bytes_done),
        files_done=max(row.files_done, progress.files_done),
    )


def _ticked(progress: Progress, tick: Tick) -> Progress:
    stale = progress.ended or tick.attempt < progress.attempt or tick.released
    if stale or progress.status == "paused":
        return progress
    # Phases are events; a tick may come after the event that ended the phase it was in.
    known = progress.phase if tick.attempt == progress.attempt else ""
    return replace(
        progress,
        phase=known or tick.phase,
        attempt=tick.attempt,
        bytes_done=tick.bytes_done,
        bytes_total=tick.bytes_total or progress.bytes_total,
        files_done=tick.files_done,
        files_total=tick.files_total or progress.files_total,
        rate=tick.rate,
        active=tick.active,
        note=tick.note,
    )


def _happened(progress: Progress, event: JobEvent) -> Progress:
    still = replace(progress, rate=0.0, active=(), note="")
    match event:
        case JobStarted(attempt=attempt):
            return replace(still, status="running", attempt=attempt, next_attempt_at=None)
        case JobProgress():
            return _counted(progress, event)
        case JobCommitStarted():
            return replace(still, phase="commit")
        case JobAttemptFailed():
            return _failed_once(still, event)
        case JobPauseRequested():
            return replace(progress, note=_stopping("pause"))
        case JobPaused():
            return replace(still, status="paused")
        case JobResumed(clean=clean):
            kept = 0 if clean else still.bytes_done
            return replace(still, status="pending", bytes_done=kept, code="", reason="", remedy="")
        case JobCancelRequested():
            return replace(progress, note=_stopping("cancel"))
        case JobCompleted() | JobFailed() | JobCancelled():
            return _ended(still, event)
        case JobRequested() | JobPriorityChanged():
            return progress
        case _:
            assert_never(event)


def _ended(still: Progress, event: JobCompleted | JobFailed | JobCancelled) -> Progress:
    match event:
        case JobCompleted(bytes=bytes, files=files):
            done = replace(still, status="completed", bytes_done=bytes, files_done=files)
            return replace(done, bytes_total=bytes, files_total=files)
        case JobFailed(code=code, reason=reason, remedy=remedy):
            return replace(still, status="failed", code=code, reason=reason, remedy=remedy)
        case JobCancelled():
            return replace(still, status="cancelled")


def _counted(progress: Progress, event: JobProgress) -> Progress:
    if event.attempt < progress.attempt:
        return progress
    return replace(
        progress,
        phase=event.phase,
        bytes_done=max(event.bytes_done, progress.bytes_done),
        bytes_total=event.bytes_total or progress.bytes_total,
        files_done=max(event.files_done, progress.files_done),
        files_total=event.files_total or progress.files_total,
    )


def _failed_once(still: Progress, event: JobAttemptFailed) -> Progress:
    """The end of an attempt. Whether it is the job's end, the next event says."""
    if event.next_attempt_at is None:
        return replace(still, code=event.code, reason=event.reason)
    return replace(
        still,
        status="retrying",
        code=event.code,
        reason=event.reason,
        next_attempt_at=event.next_attempt_at,
    )


def _stopping(what: str) -> str:
    return {"pause": "pausing", "cancel": "cancelling"}.get(what, what)
