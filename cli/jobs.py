"""`mllm jobs`: what is being done, and steering it."""

from typing import Annotated

from cyclopts import App, Parameter

from cli.client import Gateway, Rows, segment
from cli.complaints import complain
from cli.confirming import confirm
from cli.description import describe as describe_job
from cli.exits import Exit
from cli.failures import Failure
from cli.job_logs import print_logs
from cli.job_rows import JOBS, follow_through, to_the_end
from cli.listing import Listing, show
from cli.parameters import (
    PRIORITIES,
    Duration,
    Everywhere,
    Importance,
    Job,
    Moment,
    Patience,
    Yes,
)
from cli.session import Here, Session, Watching
from schemas.api.events import CloudEvent
from schemas.api.jobs import (
    CancelBody,
    JobAccepted,
    JobRow,
    JobStatus,
    JobType,
    PriorityBody,
    RetryBody,
)

app = App(name="jobs", help="See and steer what is being done.")


@app.command(name="list")
def list_(
    *,
    status: tuple[JobStatus, ...] = (),
    type: JobType | None = None,
    model: str | None = None,
    target: str | None = None,
    limit: int = 50,
    as_of: Moment | None = None,
    all_namespaces: Everywhere = False,
    watch: Watching,
    session: Here,
) -> None:
    """List jobs, the newest first.

    Parameters
    ----------
    status
        Only jobs in this status; may be given several times.
    type
        Only jobs of this type.
    model
        Only jobs about this model of the Hub.
    target
        Only jobs about the weights of this name.
    limit
        At most this many; 0 for all.
    as_of
        As things stood at a time (2026-11-01T12:00Z) or at a position (seq:4711).
    """
    exact = {"type": type, "model": model, "target": target}
    query = {"status": status, "as_of": as_of, **exact}

    def fetch(gateway: Gateway, newest: int | None) -> Rows[JobRow]:
        return gateway.rows("/jobs", JobRow, limit, min_sequence=newest, **query)

    def changed(gateway: Gateway, event: CloudEvent) -> JobRow | None:
        row = fetch_job(gateway, event.subject.removeprefix("job/"), min_sequence=event.sequence)
        fits = all(getattr(row, name) == value for name, value in exact.items() if value)
        return row if fits and (not status or row.status in status) else None

    listing = Listing(fetch, JOBS, lambda row: row.namespace, "job", changed)
    show(session, listing, all_namespaces=all_namespaces, watch=watch)


@app.command
def get(job: Job, /, *jobs: Job, as_of: Moment | None = None, session: Here) -> None:
    """Print jobs.

    Parameters
    ----------
    as_of
        As things stood at a time (2026-11-01T12:00Z) or at a position (seq:4711).
    """
    rows = [fetch_job(session.gateway, id, as_of=as_of) for id in (job, *jobs)]
    if jobs:
        session.printer.rows(rows, JOBS)
    else:
        session.printer.row(rows[0], JOBS)


@app.command
def describe(job: Job, /, *, session: Here) -> None:
    """Tell all about a job: what it does, its files, and what happened so far."""
    describe_job(session, job)


@app.command
def logs(
    job: Job,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False,
    session: Here,
) -> None:
    """Print what the workers wrote about a job.

    Parameters
    ----------
    follow
        Stay, and print what comes.
    """
    print_logs(session, job, follow=follow)


@app.command
def watch(
    job: Job,
    /,
    *,
    timeout: Duration | None = None,
    watch: Watching,
    session: Here,
) -> int:
    """Show a job's progress until it ends, and exit by how it ended. Ctrl-C only detaches.

    Parameters
    ----------
    timeout
        Give up after this long (90s, 10m). The job goes on.
    """
    row = fetch_job(session.gateway, job)
    return to_the_end(session, row, Patience(timeout=timeout).deadline(), shown=True)


@app.command
def wait(job: Job, /, *jobs: Job, timeout: Duration | None = None, session: Here) -> int:
    """Wait until jobs end, and exit by the first that did not go well.

    Parameters
    ----------
    timeout
        Give up after this long in all (90s, 10m). The jobs go on.
    """
    deadline = Patience(timeout=timeout).deadline()
    first = int(Exit.OK)
    for id in (job, *jobs):
        exit = _ended(session, id, deadline)
        if exit == Exit.INTERRUPTED:
            return exit
        first = first or exit
    return first


@app.command
def cancel(
    job: Job,
    /,
    *,
    keep_partial: bool = False,
    yes: Yes = False,
    session: Here,
) -> None:
    """End a job. What it brought so far is removed, unless it is to be kept.

    Parameters
    ----------
    keep_partial
        Keep what is there, so that a retry goes on from it.
    """
    confirm(session, f"cancel job {job}", yes)
    _steer(session, job, "cancel", CancelBody(keep_partial))


@app.command
def retry(
    job: Job,
    /,
    *,
    clean: bool = False,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Try a job again that failed or was cancelled.

    Parameters
    ----------
    clean
        Begin with nothing, rather than go on from what is there.
    """
    accepted = _send(session, job, "retry", RetryBody(clean))
    return follow_through(session, accepted.job, patience, watch)


@app.command
def pause(job: Job, /, *, session: Here) -> None:
    """Have a job stop until it is resumed. What it brought so far is kept."""
    _steer(session, job, "pause", None)


@app.command
def resume(
    job: Job,
    /,
    *,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Have a paused job go on."""
    accepted = _send(session, job, "resume", None)
    return follow_through(session, accepted.job, patience, watch)


@app.command
def priority(job: Job, priority: Importance, /, *, session: Here) -> None:
    """Have a job go before others, or after them.

    Parameters
    ----------
    priority
        high, normal or low; or 0, 1 or 2.
    """
    _steer(session, job, "priority", PriorityBody(PRIORITIES[priority]))


def fetch_job(
    gateway: Gateway, job: str, *, as_of: str | None = None, min_sequence: int | None = None
) -> JobRow:
    path = f"/jobs/{segment(job)}"
    return gateway.get(path, JobRow, as_of=as_of, min_sequence=min_sequence)


def _send(session: Session, job: str, verb: str, body: object) -> JobAccepted:
    return session.gateway.send("POST", f"/jobs/{segment(job)}/{verb}", JobAccepted, body)


def _steer(session: Session, job: str, verb: str, body: object) -> None:
    session.printer.row(_send(session, job, verb, body).job, JOBS)


def _ended(session: Session, job: str, deadline: float | None) -> int:
    """Wait for one of several jobs. What went wrong is said here: the others are waited for yet."""
    try:
        return to_the_end(session, fetch_job(session.gateway, job), deadline, shown=False)
    except Failure as failure:
        return complain(failure)
