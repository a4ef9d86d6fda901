"""Activations and deactivations of slots, each from its request to its end: one row for each."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

import msgspec

from projections.fold import Projection, events_of
from projections.rows import Part, one, page_of
from projections.runtime import GIVEN_UP
from projections.table import Change, Db, Table
from schemas.api.problem import Page
from schemas.api.runtime import ActivationKind, ActivationOutcome, ActivationRow
from schemas.log import Commit
from schemas.runtime import (
    AGGREGATE,
    ActivationCompleted,
    ActivationFailed,
    ActivationPhase,
    ActivationRequested,
    ActivationRolledBack,
    ActivationStarted,
    DeactivationCompleted,
    DeactivationFailed,
    DeactivationStarted,
    DriftDetected,
    PhaseTime,
    Promoted,
    RuntimeEvent,
    Scaled,
)

set_ = msgspec.structs.replace


def evolve(row: ActivationRow | None, event: RuntimeEvent, commit: Commit) -> ActivationRow | None:
    if isinstance(event, ActivationRequested):
        return _requested(event, commit)
    if isinstance(event, DeactivationStarted):
        return _deactivating(event, commit)
    if row is None:
        return None
    match event:
        case ActivationStarted(worker=worker):
            return set_(row, outcome="running", worker=worker, started_at=commit.at)
        case ActivationPhase(phase=phase, ms=ms):
            phases = (*timed(row.phases, row.ms, ms), PhaseTime(phase, 0))
            return set_(row, phase=phase, phases=phases, ms=ms)
        case Promoted(by=by):
            return set_(row, promoted_by=by)
        case ActivationCompleted(ms=ms, phases=phases):
            return set_(
                _ended(row, "completed", commit),
                ms=ms,
                phases=phases or timed(row.phases, row.ms, ms),
            )
        case ActivationFailed(code=code, message=message, phases=phases):
            outcome: ActivationOutcome = "rolledback" if code == GIVEN_UP else "failed"
            failed = _ended(row, outcome, commit)
            ended = phases or timed(row.phases, row.ms, failed.ms)
            return set_(failed, code=code, message=message, phases=ended)
        case ActivationRolledBack(by=by, model=model):
            return set_(row, rolled_back_by=by, returned_to=model)
        case DeactivationCompleted():
            return _ended(row, "completed", commit)
        case DeactivationFailed(code=code, message=message):
            return set_(_ended(row, "failed", commit), code=code, message=message)
        case Scaled() | DriftDetected():
            return row
        case _:
            assert_never(event)


def _requested(event: ActivationRequested, commit: Commit) -> ActivationRow:
    return ActivationRow(
        namespace=commit.stream.namespace,
        id=event.served.id,
        slot=event.slot,
        kind="activation",
        outcome="pending",
        model=event.served.model,
        by=event.by,
        requested_at=commit.at,
        updated_at=commit.at,
        position=commit.position,
        correlation=commit.correlation,
        version=event.served.version,
        target=event.served.target,
        place=event.served.place,
        strategy=event.strategy,
        preempt=event.preempt,
        hold=event.hold,
        back=event.back,
    )


def _deactivating(event: DeactivationStarted, commit: Commit) -> ActivationRow:
    return ActivationRow(
        namespace=commit.stream.namespace,
        id=event.deactivation,
        slot=event.slot,
        kind="deactivation",
        outcome="running",
        model=event.model,
        by=event.by,
        requested_at=commit.at,
        updated_at=commit.at,
        position=commit.position,
        correlation=commit.correlation,
        started_at=commit.at,
    )


def _ended(row: ActivationRow, outcome: ActivationOutcome, commit: Commit) -> ActivationRow:
    """Clocks may differ: it took as long as is known at least."""
    ms = max(row.ms, milliseconds(commit.at, row.requested_at))
    return set_(row, outcome=outcome, phase="", ms=ms, ended_at=commit.at)


def milliseconds(until: datetime, since: datetime) -> int:
    return (until - since) // timedelta(milliseconds=1)


def timed(phases: Sequence[PhaseTime], since: int, until: int) -> tuple[PhaseTime, ...]:
    """The phases, with how long the last took if it began at `since`: both are milliseconds."""
    if not phases:
        return ()
    return (*phases[:-1], PhaseTime(phases[-1].phase, max(0, until - since)))


def changes(commit: Commit) -> Iterable[Change[ActivationRow]]:
    if commit.stream.aggregate != AGGREGATE:
        return
    events: Sequence[RuntimeEvent] = events_of(commit)  # type: ignore[assignment]  # its own only
    for event in events:
        if id := about(event):
            yield (commit.stream.namespace, id), partial(_advanced, event, commit)


def about(event: RuntimeEvent) -> str:
    """Which activation, or deactivation, an event is about; empty when it is about the slot."""
    match event:
        case ActivationRequested(served=served):
            return served.id
        case DeactivationStarted() | DeactivationCompleted() | DeactivationFailed():
            return event.deactivation
        case Scaled() | DriftDetected():
            return ""
        case _:
            return event.activation


def _advanced(
    event: RuntimeEvent, commit: Commit, row: ActivationRow | None
) -> ActivationRow | None:
    after = evolve(row, event, commit)
    if after is None:
        return None
    return set_(after, position=commit.position, updated_at=commit.at)


activations = Table(
    name="activations",
    row=ActivationRow,
    key=("namespace", "id"),
    order=("requested_at", "namespace", "id"),
    changes=changes,
    indexes=(("namespace", "slot", "requested_at"), ("namespace", "model", "requested_at")),
)
projection = Projection("activations", (activations,), __file__, RuntimeEvent)


class Wanted(msgspec.Struct, frozen=True):
    """Which of them; None is all."""

    namespace: str | None
    id: str | None = None
    slot: str | None = None
    model: str | None = None
    outcome: ActivationOutcome | None = None
    kind: ActivationKind | None = None


async def page(db: Db, wanted: Wanted, part: Part) -> Page[ActivationRow]:
    """Newest first. Raises `Rejected` with `invalid_cursor`."""
    return await page_of(
        db,
        activations,
        [
            ("namespace = %s", wanted.namespace),
            ("id = %s", wanted.id),
            ("slot = %s", wanted.slot),
            ("model = %s", wanted.model),
            ("outcome = %s", wanted.outcome),
            ("kind = %s", wanted.kind),
        ],
        part,
    )


async def get(db: Db, namespace: str, id: str) -> ActivationRow | None:
    return await one(db, activations, (namespace, id))
