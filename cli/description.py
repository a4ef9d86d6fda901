"""All that is known of one job, for people."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from cli.client import segment
from cli.event_rows import gist
from cli.job_rows import PRIORITIES, percent, since
from cli.quantities import size
from cli.session import Session
from cli.tables import Column, Table, View, facts
from schemas.api.events import CloudEvent
from schemas.api.jobs import JobFileRow, JobRow
from schemas.message import Value

R = TypeVar("R")

EVENTS = 20
FILES = 20


class Description(Value):
    """A job, its finished files, and its events, oldest first."""

    job: JobRow
    files: tuple[JobFileRow, ...]
    events: tuple[CloudEvent, ...]


FINISHED: View[JobFileRow] = View(
    "file",
    lambda file: file.path,
    (
        Column("FILE", lambda file: file.path),
        Column("SIZE", lambda file: size(file.size)),
        Column("DIGEST", lambda file: f"{file.algorithm}:{file.digest[:16]}"),
    ),
)
HAPPENED: View[CloudEvent] = View(
    "event",
    lambda event: event.id,
    (
        Column("AGE", lambda event: since(event.time)),
        Column("EVENT", lambda event: event.type),
        Column("ACTOR", lambda event: event.actor),
        Column("SAYING", gist),
    ),
)


def describe(session: Session, job: str) -> None:
    """Print it. Raises `Failure`."""
    gateway = session.gateway
    path = f"/jobs/{segment(job)}"
    row = gateway.get(path, JobRow)
    files = gateway.rows(f"{path}/files", JobFileRow)
    events = gateway.rows("/events/log", CloudEvent, aggregate="job", id=row.id)
    description = Description(row, tuple(files.rows), tuple(events.rows))
    text = _text(description, colour=session.printer.colour)
    session.printer.value(description, text, f"job/{row.id}")


def _text(description: Description, *, colour: bool) -> str:
    files, events = description.files, description.events
    parts = [facts(_facts(description.job))]
    if files:
        parts.append(_titled("Files", FINISHED, files[:FILES], len(files) - FILES, colour))
    if events:
        parts.append(_titled("Events", HAPPENED, events[-EVENTS:], len(events) - EVENTS, colour))
    return "\n\n".join(parts)


def _titled(title: str, view: View[R], rows: Sequence[R], others: int, colour: bool) -> str:
    lines = [f"  {line}" for line in Table(view, colour=colour).lines(rows)]
    left_out = [f"  and {others} more; -o json lists all"] if others > 0 else []
    return "\n".join([f"{title}:", *lines, *left_out])


def _facts(job: JobRow) -> list[tuple[str, str]]:
    done = f"{size(job.bytes_done)} of {size(job.bytes_total)} ({percent(job)})"
    return [
        ("Job", job.id),
        ("Type", job.type),
        ("Status", f"{job.status}, asked to {job.stopping}" if job.stopping else job.status),
        ("Phase", job.phase),
        ("Code", job.code),
        ("Reason", job.reason),
        ("Remedy", job.remedy),
        ("Namespace", job.namespace),
        ("Target", job.target),
        ("Model", job.model),
        ("Revision", job.revision),
        ("Commit", job.commit),
        ("Store", job.store),
        ("Priority", PRIORITIES[job.priority]),
        ("Bytes", done if job.bytes_total else ""),
        ("Files", f"{job.files_done} of {job.files_total}" if job.files_total else ""),
        ("Attempt", f"{job.attempt}, {job.failures} failed" if job.attempt else ""),
        ("Worker", job.worker),
        ("Requested", _when(job.requested_at, job.requested_by)),
        ("Started", _when(job.started_at)),
        ("Next attempt", _when(job.next_attempt_at)),
        ("Finished", _when(job.finished_at)),
        ("Correlation", job.correlation),
    ]


def _when(at: datetime | None, by: str = "") -> str:
    if at is None:
        return ""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" + (f" by {by}" if by else "")
