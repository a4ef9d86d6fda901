"""Following an activation to its end: by the event stream, or by asking again without one."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple, TypeAlias

import msgspec

from cli.client import Gateway
from cli.evidence import headed
from cli.exits import Exit, of_code
from cli.failures import Failure
from cli.runtime_display import Display
from cli.runtime_progress import News, Rollout, about, advance, decode
from cli.session import Session
from cli.tailing import Absence, Break, Message, Pump, follow, position_of
from cli.watching import IDLE_SECONDS, POLL_SECONDS, STREAMLESS
from schemas.api.runtime import ActivationRow


class Told(NamedTuple):
    """What became known of an activation; `position` is that of an event, else 0."""

    news: News
    position: int = 0


Update: TypeAlias = Told | Break


def watch(session: Session, rollout: Rollout, display: Display, deadline: float | None) -> Rollout:
    """Show it until nothing more happens by itself, and return that. `deadline` is monotonic.

    Raises `Failure`: when time is up, or when nothing can be heard of it any more.
    `KeyboardInterrupt` means: detach. The activation goes on either way.
    """
    display.show(rollout)
    if rollout.settled:
        return rollout
    start = rollout
    with closing(display), Pump(session.gateway, lambda gateway: updates(gateway, start)) as pump:
        note = ""
        for update in pump.items(IDLE_SECONDS):
            if isinstance(update, Break):
                note = f"{update.cause}; connecting again"
            elif update is not None:
                rollout, note = advance(rollout, update.news, update.position), ""
            display.show(rollout, note)
            if rollout.settled:
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise _late(rollout)
    return rollout


def updates(gateway: Gateway, rollout: Rollout) -> Iterator[Update]:
    """Whatever becomes known of it after `rollout`, for ever. Raises `Failure`."""
    away = Absence()
    position = rollout.position
    while True:
        try:
            yield from _told(gateway, rollout, position)
        except Failure as refused:
            if refused.code not in STREAMLESS:
                raise
        try:
            row = _row(gateway, rollout)
        except Failure as refused:
            if not refused.passing:
                raise
            away.check(refused)
            yield Break(refused.cause)
        else:
            away.ended()
            if row is not None:
                position = max(position, row.position)
                yield Told(row)
        time.sleep(POLL_SECONDS)


def _told(gateway: Gateway, rollout: Rollout, position: int) -> Iterator[Update]:
    """What the event stream tells, until it says that it begins anew."""
    for item in follow(gateway, position, aggregate="runtime", id=rollout.slot):
        if isinstance(item, Break):
            yield item
        elif item.type == "stream.reset":
            return
        elif (news := _read(item, rollout.id)) is not None:
            yield news


def _read(message: Message, id: str) -> Told | None:
    try:
        event = decode(message.payload()) if message.id else None
    except msgspec.DecodeError:  # a newer server's
        return None
    if event is None or about(event) != id:
        return None
    return Told(event, position_of(message.id))


def _row(gateway: Gateway, rollout: Rollout) -> ActivationRow | None:
    found = gateway.rows("/runtime/history", ActivationRow, 1, activation=rollout.id)
    return found.rows[0] if found.rows else None


def conclude(session: Session, rollout: Rollout) -> int:
    """The exit code of what went well. Raises `Failure` when it did not."""
    if rollout.waiting:
        promote = f"mllm runtime promote {rollout.model} --slot {rollout.slot}"
        session.hint(f"{rollout.model} answers, and waits to be promoted: {promote}")
        return Exit.OK
    if rollout.outcome == "completed":
        return Exit.OK
    given_up = rollout.outcome == "rolledback"
    stays = f"; {rollout.stays} serves on" if rollout.stays else ""
    message, lines = headed(rollout.message)
    why = f": {message}" if message else ""
    outcome = "was given up" if given_up else "failed"
    raise Failure(
        f"the {rollout.kind} of {rollout.model} in {rollout.slot} {outcome}{why}{stays}",
        f"see `mllm runtime diagnose {rollout.slot}`",
        exit=Exit.JOB_CANCELLED if given_up else of_code(rollout.code, Exit.JOB_FAILED),
        code=rollout.code,
        request_id=rollout.correlation,
        lines=lines,
    )


def detached(session: Session, rollout: Rollout) -> int:
    """Say how to come back. Returns the exit code."""
    again = f"mllm rollout status {rollout.slot}"
    session.hint(f"\ndetached; the {rollout.kind} goes on. Attach again: {again}")
    if rollout.kind == "activation":
        session.hint(f"To give it up: mllm runtime rollback {rollout.slot}")
    return Exit.INTERRUPTED


def _late(rollout: Rollout) -> Failure:
    under_way = f"in the phase {rollout.phase}" if rollout.phase else rollout.outcome
    return Failure(
        f"the {rollout.kind} of {rollout.model} in {rollout.slot} is still {under_way}",
        f"it goes on: mllm rollout status {rollout.slot}",
        exit=Exit.TIMED_OUT,
    )
