"""Following a job to its end, and what that end means."""

import msgspec

from cli.client import Gateway, segment
from cli.display import Display
from cli.exits import Exit, of_job
from cli.failures import Failure
from cli.following import Followed, Told, to_the_end
from cli.progress import News, Progress, advance, begin, decode
from cli.session import Session
from cli.tailing import Message
from schemas.api.jobs import JobRow
from schemas.live import Tick


def watch(
    session: Session, row: JobRow, display: Display[Progress], deadline: float | None
) -> Progress:
    """Show the job until it ends, and return its end; as `to_the_end` does."""

    def ask(gateway: Gateway) -> Told[News]:
        found = gateway.get(f"/jobs/{segment(row.id)}", JobRow)
        return Told(found, found.position)

    followed = Followed[Progress, News]("job", row.id, _read, ask, advance, _late)
    return to_the_end(session, begin(row), followed, display, deadline)


def conclude(progress: Progress) -> int:
    """The exit code of a job that went well. Raises `Failure` when it did not."""
    if progress.status == "completed":
        return Exit.OK
    why = f": {progress.reason}" if progress.reason else ""
    raise Failure(
        f"job {progress.job} {progress.status}{why}",
        progress.remedy or f"see `mllm jobs describe {progress.job}`",
        exit=of_job(progress.status, progress.code),
        code=progress.code,
        request_id=progress.correlation,
    )


def detached(session: Session, job: str) -> int:
    """Say how to come back. Returns the exit code."""
    session.hint(f"\ndetached; the job goes on. Attach again: mllm jobs watch {job}")
    session.hint(f"To end it: mllm jobs cancel {job}")
    return Exit.INTERRUPTED


def _read(message: Message) -> News | None:
    if message.type == "job.tick":
        return msgspec.json.decode(message.payload(), type=Tick)
    return decode(message.payload()) if message.id else None


def _late(progress: Progress) -> Failure:
    return Failure(
        f"job {progress.job} is still {progress.status}",
        f"it goes on: mllm jobs watch {progress.job}",
        exit=Exit.TIMED_OUT,
    )
