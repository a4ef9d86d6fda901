"""Waiting until a slot has as many replicas as it was asked to have."""

import time

from cli.exits import Exit
from cli.failures import Failure
from cli.rollout import fetch_slot, seen
from cli.runtime_rows import SLOTS, Seen
from cli.session import Session
from schemas.api.runtime import SlotRow

POLL_SECONDS = 0.5


def scaled_to_the_end(
    session: Session, slot: SlotRow, replicas: int, deadline: float | None, *, shown: bool
) -> int:
    """Wait until so many are ready and no other is there, then print the slot.

    Returns the exit code. Raises `Failure` when time is up.
    """
    try:
        found = _wait(session, slot, replicas, deadline, shown=shown)
    except KeyboardInterrupt:
        session.hint(f"\ndetached; it goes on. See: mllm runtime status {slot.slot}")
        return Exit.INTERRUPTED
    session.printer.row(found, SLOTS)
    return Exit.OK


def _wait(
    session: Session, slot: SlotRow, replicas: int, deadline: float | None, *, shown: bool
) -> Seen:
    told = ""
    while True:
        now = seen(session.gateway, slot)
        have = _have(now)
        if shown and have != told:
            session.hint(f"scale {slot.slot} to {replicas}: {have}")
            told = have
        if _is_there(now, replicas):
            return now
        _refuse_replaced(session, slot)
        if deadline is not None and time.monotonic() >= deadline:
            raise Failure(
                f"{slot.slot} has {have}, and is to have {replicas}",
                f"it goes on: mllm runtime status {slot.slot}",
                exit=Exit.TIMED_OUT,
            )
        time.sleep(POLL_SECONDS)


def _refuse_replaced(session: Session, slot: SlotRow) -> None:
    """Who serves next has as many as its own manifest says."""
    try:
        model = _model_instead(session, slot)
    except Failure as failure:
        if not failure.passing:
            raise
        return
    if model is not None:
        raise Failure(
            f"{model or 'nothing'} serves in {slot.slot} by now, not {slot.model}",
            f"see who does: mllm runtime status {slot.slot}",
            exit=Exit.CONFLICT,
        )


def _model_instead(session: Session, slot: SlotRow) -> str | None:
    """Who serves in place of who was scaled, empty for nobody; None while that one does."""
    row = fetch_slot(session.gateway, slot.slot)
    return None if row.activation == slot.activation else row.model


def _have(now: Seen) -> str:
    status = now.status
    return f"{status.replicas_ready} of {status.replicas} ready" if status else "nothing known yet"


def _is_there(now: Seen, replicas: int) -> bool:
    status = now.status
    return status is not None and status.replicas == status.replicas_ready == replicas
