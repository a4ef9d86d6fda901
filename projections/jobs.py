"""Jobs as they stand, and as they stood."""

from collections.abc import Iterable, Sequence
from typing import assert_never

import msgspec

from projections.fold import PerAggregate, Projection
from projections.rows import Part, one, page_of
from projections.table import Db, Table
from schemas.api.jobs import JobRow, JobStatus, JobType
from schemas.api.problem import Page
from schemas.job import (
    AGGREGATE,
    DeleteSpec,
    InstallSpec,
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
    JobSpec,
    JobStarted,
    VerifySpec,
)
from schemas.log import Commit

set_ = msgspec.structs.replace


def evolve(row: JobRow | None, event: JobEvent, commit: Commit) -> JobRow | None:
    if isinstance(event, JobRequested):
        return _requested(event, commit)
    if row is None:
        return None
    match event:
        case JobStarted():
            return _started(row, event, commit)
        case JobProgress():
            return _progressed(row, event)
        case JobPauseRequested():
            return set_(row, stopping="pause")
        case JobPaused():
            return set_(row, status="paused", stopping="", next_attempt_at=None)
        case JobResumed():
            return _resumed(row, event)
        case JobPriorityChanged(priority=priority):
            return set_(row, priority=priority)
        case JobCancelRequested():
            return set_(row, stopping="cancel")
        case JobAttemptFailed():
            return _attempt_failed(row, event)
        case JobCommitStarted():
            return set_(row, phase="commit")
        case JobCancelled() | JobCompleted() | JobFailed():
            ended = set_(row, stopping="", next_attempt_at=None, finished_at=commit.at)
            return _ended(ended, event)
        case _:
            assert_never(event)


def _requested(event: JobRequested, commit: Commit) -> JobRow:
    row = JobRow(
        namespace=commit.stream.namespace,
        id=event.job,
        type=_type(event.spec),
        status="pending",
        target=event.target,
        store=event.store,
        priority=event.priority,
        requested_at=commit.at,
        requested_by=commit.actor,
        updated_at=commit.at,
        position=commit.position,
        correlation=commit.correlation,
    )
    if not isinstance(event.spec, InstallSpec):
        return row
    return set_(
        row,
        model=event.spec.repo,
        revision=event.spec.revision,
        commit=event.spec.commit,
        bytes_total=event.spec.bytes,
        files_total=event.spec.files,
    )


def _type(spec: JobSpec) -> JobType:
    match spec:
        case InstallSpec():
            return "install"
        case VerifySpec():
            return "verify"
        case DeleteSpec():
            return "delete"
        case _:
            assert_never(spec)


def _started(row: JobRow, event: JobStarted, commit: Commit) -> JobRow:
    return set_(
        row,
        status="running",
        attempt=event.attempt,
        worker=event.worker,
        phase="",
        code="",
        reason="",
        started_at=row.started_at or commit.at,
        next_attempt_at=None,
    )


def _progressed(row: JobRow, event: JobProgress) -> JobRow:
    """Totals are left as they are known by a worker that does not know them yet."""
    return set_(
        row,
        phase=event.phase,
        bytes_done=event.bytes_done,
        bytes_total=event.bytes_total or row.bytes_total,
        files_done=event.files_done,
        files_total=event.files_total or row.files_total,
    )


def _resumed(row: JobRow, event: JobResumed) -> JobRow:
    if row.status == "running":  # the pause had not been carried out yet
        return set_(row, stopping="")
    resumed = set_(
        row,
        status="pending",
        stopping="",
        code="",
        reason="",
        remedy="",
        failures=0 if event.retry else row.failures,
        next_attempt_at=None,
        finished_at=None,
    )
    return set_(resumed, phase="", bytes_done=0, files_done=0) if event.clean else resumed


def _attempt_failed(row: JobRow, event: JobAttemptFailed) -> JobRow:
    return set_(
        row,
        status="retrying",
        failures=row.failures + 1,
        code=event.code,
        reason=event.reason,
        next_attempt_at=event.next_attempt_at,
    )


def _ended(row: JobRow, event: JobCancelled | JobCompleted | JobFailed) -> JobRow:
    match event:
        case JobCancelled():
            return set_(row, status="cancelled")
        case JobFailed(code=code, reason=reason, remedy=remedy):
            return set_(row, status="failed", code=code, reason=reason, remedy=remedy)
        case JobCompleted(bytes=bytes, files=files):
            return set_(
                row,
                status="completed",
                bytes_done=bytes,
                bytes_total=bytes,
                files_done=files,
                files_total=files,
            )
        case _:
            assert_never(event)


fold = PerAggregate(AGGREGATE, evolve)
jobs = Table(
    name="jobs",
    row=JobRow,
    key=("namespace", "id"),
    order=("requested_at", "namespace", "id"),
    changes=fold.changes,
    indexes=(("namespace", "requested_at", "id"), ("status", "requested_at"), ("target",)),
    history=True,
)
projection = Projection("jobs", (jobs,), __file__, JobEvent)


class Wanted(msgspec.Struct, frozen=True):
    """Which jobs. An empty field wants them all; so does None for the namespace."""

    namespace: str | None
    status: Sequence[JobStatus] = ()
    type: str = ""
    model: str = ""
    target: str = ""


def row_of(history: Iterable[Commit]) -> JobRow | None:
    """The job's row after its whole history, without any database."""
    return fold.row_of(history)


async def page(db: Db, wanted: Wanted, part: Part) -> Page[JobRow]:
    """Newest first. Raises `Rejected` with `invalid_cursor`."""
    return await page_of(
        db,
        jobs,
        [
            ("namespace = %s", wanted.namespace),
            ("status = ANY(%s)", list(wanted.status)),
            ("type = %s", wanted.type or None),
            ("model = %s", wanted.model or None),
            ("target = %s", wanted.target or None),
        ],
        part,
    )


async def get(db: Db, namespace: str, id: str, as_of: int | None = None) -> JobRow | None:
    return await one(db, jobs, (namespace, id), as_of)


async def unfinished(db: Db) -> Sequence[tuple[str, str]]:
    """Namespace and id of every job that has not ended."""
    cursor = await db.execute(
        "SELECT namespace, id FROM jobs"
        " WHERE status IN ('pending', 'running', 'paused', 'retrying') ORDER BY requested_at"
    )
    return [(namespace, id) for namespace, id in await cursor.fetchall()]


async def counts(db: Db, namespace: str | None) -> dict[str, int]:
    """How many jobs there are, by status."""
    cursor = await db.execute(
        "SELECT status, count(*) FROM jobs WHERE %(ns)s::text IS NULL OR namespace = %(ns)s"
        " GROUP BY status ORDER BY status",
        {"ns": namespace},
    )
    return dict(await cursor.fetchall())
