"""How jobs are shown, and what a verb does that has just asked for one."""

from datetime import UTC, datetime

from cli.client import segment
from cli.display import display
from cli.drawing import JOB
from cli.failures import Failure
from cli.parameters import Patience
from cli.progress import Progress, begin
from cli.quantities import age
from cli.session import Session
from cli.tables import Column, View
from cli.watching import conclude, detached, watch
from schemas.api.jobs import JobRow

PRIORITIES = ("high", "normal", "low")


def since(then: datetime | None) -> str:
    return age(then, datetime.now(UTC))


def percent(row: JobRow) -> str:
    """How much of its bytes a job has done; `-` while that is unknown."""
    known = row.bytes_total or row.status == "completed"
    return f"{begin(row).percent}%" if known else "-"


def _phase(row: JobRow) -> str:
    return f"{row.stopping} asked" if row.stopping else row.phase or "-"


JOBS: View[JobRow] = View(
    "job",
    lambda row: row.id,
    (
        Column("JOB", lambda row: row.id),
        Column("TYPE", lambda row: row.type),
        Column("TARGET", lambda row: row.target),
        Column("STATUS", lambda row: row.status),
        Column("DONE", percent),
        Column("AGE", lambda row: since(row.requested_at)),
        Column("PHASE", _phase, wide=True),
        Column("MODEL", lambda row: row.model or "-", wide=True),
        Column("PRIORITY", lambda row: PRIORITIES[row.priority], wide=True),
        Column("ATTEMPT", lambda row: str(row.attempt), wide=True),
        Column("STORE", lambda row: row.store, wide=True),
        Column("WORKER", lambda row: row.worker or "-", wide=True),
        Column("CODE", lambda row: row.code or "-", wide=True),
        Column("BY", lambda row: row.requested_by, wide=True),
    ),
)


def follow_through(session: Session, row: JobRow, patience: Patience, watching: bool) -> int:
    """Print the job that was asked for, at once or, if that is wanted, once it has ended.

    Returns the exit code. Raises `Failure` when the job did not go well.
    """
    if not (watching or patience.wait):
        session.printer.row(row, JOBS)
        if row.finished_at is None:
            session.hint(f"watch it: mllm jobs watch {row.id}")
        return 0
    return to_the_end(session, row, patience.deadline(), shown=watching)


def to_the_end(session: Session, row: JobRow, deadline: float | None, *, shown: bool) -> int:
    """Watch the job until it ends, then print it. `shown`: with progress, if nothing else is said.

    Returns the exit code. Raises `Failure` when the job did not go well.
    """
    try:
        progress = watch(session, row, display(session, JOB, shown=shown), deadline)
    except KeyboardInterrupt:
        return detached(session, row.id)
    _print_latest(session, progress)
    return conclude(progress)


def _print_latest(session: Session, progress: Progress) -> None:
    """Print the job's row. The log said already how it ended: not seeing the row is no failure."""
    path = f"/jobs/{segment(progress.job)}"
    try:
        row = session.gateway.get(path, JobRow, min_sequence=progress.position)
    except Failure as failure:
        session.hint(f"the job's row can not be shown: {failure.cause}")
    else:
        session.printer.row(row, JOBS)
