"""Following a job to its end: by the event stream, or by asking again and again without one."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from cli.client import Gateway, segment
from cli.display import Display
from cli.exits import Exit, of_job
from cli.failures import PASSING, Failure
from cli.progress import News, Progress, advance, begin, decode
from cli.session import Session
from cli.tailing import Absence, Break, Message, Pump, follow, position_of
from schemas.api.jobs import JobRow
from schemas.live import Tick

IDLE_SECONDS = 0.25
POLL_SECONDS = 2.0

STREAMLESS = PASSING | {"not_found", "method_not_allowed"}
"""Refusals of the stream that leave the job to be asked for: a part is down, or a proxy balks."""


class Told(NamedTuple):
    """What became known of a job; `position` is that of an event, else 0."""

    news: News
    position: int = 0


Update: TypeAlias = Told | Break


def watch(session: Session, row: JobRow, display: Display, deadline: float | None) -> Progress:
    """Show the job until it ends, and return its end. `deadline` is a monotonic time.

    Raises `Failure`: when time is up, or when nothing can be heard of the job any more.
    `KeyboardInterrupt` means: detach. The job goes on either way.
    """
    progress = begin(row)
    display.show(progress)
    if progress.ended:
        return progress
    with closing(display), Pump(session.gateway, lambda gateway: updates(gateway, row)) as pump:
        for update in pump.items(IDLE_SECONDS):
            progress = _after(progress, update)
            display.show(progress)
            if progress.ended:
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise _late(progress)
    return progress


def updates(gateway: Gateway, row: JobRow) -> Iterator[Update]:
    """Whatever becomes known of a job after `row`, for ever. Raises `Failure`."""
    away = Absence()
    position = row.position
    while True:
        try:
            yield from _told(gateway, row.id, position)
        except Failure as refused:
            if refused.code not in STREAMLESS:
                raise
        try:
            row = gateway.get(f"/jobs/{segment(row.id)}", JobRow)
        except Failure as refused:
            if not refused.passing:
                raise
            away.check(refused)
            yield Break(refused.cause)
        else:
            away.ended()
            position = row.position
            yield Told(row)
        time.sleep(POLL_SECONDS)


def _told(gateway: Gateway, job: str, position: int) -> Iterator[Update]:
    """What the event stream tells, until it says that it begins anew."""
    for item in follow(gateway, position, aggregate="job", id=job):
        if isinstance(item, Break):
            yield item
        elif item.type == "stream.reset":
            return
        elif (news := _read(item)) is not None:
            yield Told(news, position_of(item.id))


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


def _after(progress: Progress, update: Update | None) -> Progress:
    if update is None:
        return progress
    if isinstance(update, Break):
        return replace(progress, note=f"{update.cause}; connecting again", rate=0.0)
    return advance(progress, update.news, update.position)


def _read(message: Message) -> News | None:
    try:
        if message.type == "job.tick":
            return msgspec.json.decode(message.payload(), type=Tick)
        return decode(message.payload()) if message.id else None
    except msgspec.DecodeError:  # a newer server's
        return None


def _late(progress: Progress) -> Failure:
    return Failure(
        f"job {progress.job} is still {progress.status}",
        f"it goes on: mllm jobs watch {progress.job}",
        exit=Exit.TIMED_OUT,
    )
