"""Slots: who serves in each, who is to, and who did. One row for each."""

from typing import TypeAlias, assert_never

import msgspec

from projections.fold import PerAggregate, Projection
from projections.rows import Part, one, page_of
from projections.table import Db, Table
from schemas.api.problem import Page
from schemas.api.runtime import (
    BeforeRow,
    CandidateRow,
    Drift,
    Failure,
    ServedRow,
    SlotCondition,
    SlotRow,
)
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

Flown: TypeAlias = (
    ActivationStarted
    | ActivationPhase
    | Promoted
    | ActivationCompleted
    | ActivationFailed
    | ActivationRolledBack
)

GIVEN_UP = "rolled_back"
"""The code of an activation that somebody ended; every other says what went wrong."""

set_ = msgspec.structs.replace


def evolve(row: SlotRow | None, event: RuntimeEvent, commit: Commit) -> SlotRow:
    changed = _changed(row or _empty(commit), event, commit)
    return set_(changed, state=_state(changed))


def _empty(commit: Commit) -> SlotRow:
    return SlotRow(commit.stream.namespace, commit.stream.id, "idle", commit.position, commit.at)


def _state(row: SlotRow) -> SlotCondition:
    if row.candidate is not None:
        return "activating"
    if row.deactivation:
        return "deactivating"
    if row.model:
        return "serving"
    return "idle" if row.failure is None else "failed"


def _changed(row: SlotRow, event: RuntimeEvent, commit: Commit) -> SlotRow:
    match event:
        case ActivationRequested():
            return set_(row, candidate=_candidate(event, commit))
        case (
            ActivationStarted()
            | ActivationPhase()
            | Promoted()
            | ActivationCompleted()
            | ActivationFailed()
            | ActivationRolledBack()
        ):
            return _flown(row, event, commit)
        case DeactivationStarted(deactivation=id):
            return set_(row, deactivation=id)
        case DeactivationCompleted():
            left = _with(row, None)
            return set_(left, previous=_serving(row), deactivation="", failure=None)
        case DeactivationFailed(deactivation=id, code=code, message=message):
            failure = Failure(id, row.model, code, message, commit.at)
            return set_(row, deactivation="", failure=failure)
        case Scaled(replicas=replicas):
            return set_(row, replicas=replicas)
        case DriftDetected(fields=fields, corrected=corrected):
            return set_(row, drift=Drift(fields, commit.at, corrected))
        case _:
            assert_never(event)


def _candidate(event: ActivationRequested, commit: Commit) -> CandidateRow:
    served = event.served
    return CandidateRow(
        activation=served.id,
        model=served.model,
        version=served.version,
        target=served.target,
        store=served.store,
        place=served.place,
        strategy=event.strategy,
        by=event.by,
        requested_at=commit.at,
        runtime=served.manifest.runtime,
        preempt=event.preempt,
        hold=event.hold,
        back=event.back,
        replicas=max(1, served.manifest.replicas.min),
        timeout=event.timeout,
    )


def _flown(row: SlotRow, event: Flown, commit: Commit) -> SlotRow:
    """What an activation under way makes of its slot, up to its end."""
    candidate = row.candidate
    if candidate is None or candidate.activation != event.activation:
        return row
    match event:
        case ActivationStarted(worker=worker):
            return set_(row, candidate=set_(candidate, worker=worker))
        case ActivationPhase():
            return _entered(row, candidate, event, commit)
        case Promoted():
            return set_(row, candidate=set_(candidate, waiting=False))
        case ActivationCompleted():
            return _completed(row, candidate)
        case ActivationFailed():
            return _came_to_nothing(row, candidate, event, commit)
        case ActivationRolledBack():
            return row
        case _:
            assert_never(event)


def _entered(
    row: SlotRow, candidate: CandidateRow, event: ActivationPhase, commit: Commit
) -> SlotRow:
    """From the switch on, the candidate is who serves."""
    phases = (*candidate.phases, PhaseTime(event.phase, event.ms))
    now = set_(candidate, phase=event.phase, phases=phases, waiting=event.phase == "ready")
    if event.phase != "switch":
        return set_(row, candidate=now)
    before = BeforeRow(_serving(row), row.previous, row.drift)
    switched = _with(row, _served(candidate, commit))
    return set_(switched, candidate=set_(now, before=before), previous=before.current)


def _completed(row: SlotRow, candidate: CandidateRow) -> SlotRow:
    former = (row.previous, candidate.before.previous if candidate.before else None)
    now = (row.model, row.version)
    others = (one for one in former if one is not None and (one.model, one.version) != now)
    return set_(row, candidate=None, previous=next(others, None), failure=None)


def _came_to_nothing(
    row: SlotRow, candidate: CandidateRow, event: ActivationFailed, commit: Commit
) -> SlotRow:
    """The slot as it was before. What somebody gave up is no failure."""
    id, code, message = event.activation, event.code, event.message
    given_up = code == GIVEN_UP
    failure = row.failure if given_up else Failure(id, event.model, code, message, commit.at)
    ended = set_(row, candidate=None, failure=failure)
    before = candidate.before
    if before is None:
        return ended
    return set_(_with(ended, before.current), previous=before.previous, drift=before.drift)


def _served(candidate: CandidateRow, commit: Commit) -> ServedRow:
    return ServedRow(
        activation=candidate.activation,
        model=candidate.model,
        version=candidate.version,
        target=candidate.target,
        store=candidate.store,
        place=candidate.place,
        runtime=candidate.runtime,
        replicas=candidate.replicas,
        since=commit.at,
        by=candidate.by,
    )


def _serving(row: SlotRow) -> ServedRow | None:
    if row.since is None:
        return None
    return ServedRow(
        activation=row.activation,
        model=row.model,
        version=row.version,
        target=row.target,
        store=row.store,
        place=row.place,
        runtime=row.runtime,
        replicas=row.replicas,
        since=row.since,
        by=row.by,
    )


def _with(row: SlotRow, serving: ServedRow | None) -> SlotRow:
    """The row with somebody else serving, or nobody."""
    said = {name: getattr(serving, name) for name in ServedRow.__struct_fields__} if serving else {}
    nobody = {
        field.name: field.default
        for field in msgspec.structs.fields(SlotRow)
        if field.name in ServedRow.__struct_fields__
    }
    return set_(row, drift=None, **(nobody | said))


fold = PerAggregate(AGGREGATE, evolve)
slots = Table(
    name="runtime",
    row=SlotRow,
    key=("namespace", "slot"),
    order=("slot", "namespace"),
    changes=fold.changes,
    indexes=(("namespace", "model"),),
    history=True,
)
projection = Projection("runtime", (slots,), __file__, RuntimeEvent)


class Wanted(msgspec.Struct, frozen=True):
    """Which slots; None is all. `models` are those that serve there, in whatever namespace."""

    namespace: str | None
    slot: str | None = None
    models: tuple[str, ...] | None = None
    state: SlotCondition | None = None
    serving: bool | None = None


async def page(db: Db, wanted: Wanted, part: Part) -> Page[SlotRow]:
    """By slot. Raises `Rejected` with `invalid_cursor`."""
    if wanted.models == ():
        return Page(())
    return await page_of(
        db,
        slots,
        [
            ("namespace = %s", wanted.namespace),
            ("slot = %s", wanted.slot),
            ("model = ANY(%s)", list(wanted.models or ())),
            ("state = %s", wanted.state),
            ("(model <> '') = %s", wanted.serving),
        ],
        part,
        ascending=True,
    )


async def get(db: Db, namespace: str, slot: str, as_of: int | None = None) -> SlotRow | None:
    return await one(db, slots, (namespace, slot), as_of)
