"""How far an activation, or a deactivation, is: what rows and events say, folded into one picture.

Knows neither clocks nor terminals. Only the log says that it is over.
"""

from typing import Self, TypeAlias

import msgspec
from msgspec.structs import replace

from schemas.api.runtime import ActivationKind, ActivationOutcome, ActivationRow, SlotRow
from schemas.message import Value
from schemas.runtime import (
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

GIVEN_UP = "rolled_back"
"""The code of an activation that somebody ended."""

News: TypeAlias = ActivationRow | RuntimeEvent


class Rollout(Value):
    """`phase` began when it had been under way for `began` milliseconds; `phases` are those that
    are over, with how long each took. `ms` is how long it took altogether, once it is over.

    `waiting`: the model answers, and waits to be promoted. `stays` serves after it came to nothing.
    `note` says what is in the way of hearing more.
    """

    slot: str
    id: str
    kind: ActivationKind
    outcome: ActivationOutcome
    model: str
    by: str = ""
    phase: str = ""
    began: int = 0
    phases: tuple[PhaseTime, ...] = ()
    ms: int = 0
    waiting: bool = False
    code: str = ""
    message: str = ""
    stays: str = ""
    correlation: str = ""
    position: int = 0
    note: str = ""

    @property
    def ended(self) -> bool:
        return self.outcome not in ("pending", "running")

    @property
    def settled(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.ended or self.waiting

    def hindered(self, note: str) -> Self:
        return replace(self, note=note)


def begin(slot: SlotRow, id: str) -> Rollout:
    """What a slot's row says of one of its activations, or of its deactivation.

    One that is not under way there any more failed, if the row says that; else it completed.
    """
    candidate = slot.candidate
    known = Rollout(
        slot=slot.slot,
        id=id,
        kind="activation",
        outcome="completed",
        model=slot.model,
        by=slot.by,
        position=slot.position,
    )
    if candidate is not None and candidate.activation == id:
        under_way = replace(
            known,
            outcome="running" if candidate.worker else "pending",
            model=candidate.model,
            by=candidate.by,
            waiting=candidate.waiting,
        )
        return _through(under_way, candidate.phases)
    if slot.deactivation == id:
        return replace(known, kind="deactivation", outcome="running")
    failure = slot.failure
    if failure is not None and failure.activation == id:
        told = replace(known, model=failure.model, code=failure.code, message=failure.message)
        return replace(told, outcome="failed", stays=slot.model)
    return known


def under_way(slot: SlotRow) -> str:
    """The id of what is going on in a slot; empty when nothing is."""
    return slot.candidate.activation if slot.candidate is not None else slot.deactivation


def advance(rollout: Rollout, news: News, position: int = 0) -> Rollout:
    """The picture after `news`, which an event tells at `position`."""
    if isinstance(news, ActivationRow):
        return _seen(rollout, news)
    return replace(_happened(rollout, news), position=position or rollout.position, note="")


def decode(data: bytes | msgspec.Raw) -> RuntimeEvent | None:
    """An event of a slot; None for one of a type this build does not know."""
    try:
        event: RuntimeEvent = _events.decode(data)
    except msgspec.ValidationError:
        return None
    return event


_events = msgspec.json.Decoder[RuntimeEvent](RuntimeEvent)


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


def _through(rollout: Rollout, begun: tuple[PhaseTime, ...]) -> Rollout:
    """The picture after these phases have begun, each when the rollout had been under way so long.

    The same phase again changes nothing.
    """
    for phase in begun:
        if phase.phase == rollout.phase:
            continue
        over = rollout.phases
        if rollout.phase:
            over = (*over, _took(rollout, phase.ms))
        rollout = replace(rollout, phase=phase.phase, began=phase.ms, phases=over)
    return rollout


def _took(rollout: Rollout, until: int) -> PhaseTime:
    took = {"phase": rollout.phase, "ms": max(0, until - rollout.began)}
    return msgspec.convert(took, PhaseTime)


def _happened(rollout: Rollout, event: RuntimeEvent) -> Rollout:
    if about(event) != rollout.id:
        return rollout
    match event:
        case ActivationRequested():
            return rollout
        case ActivationStarted() | DeactivationStarted():
            return replace(rollout, outcome="running")
        case ActivationPhase(phase=phase, ms=ms):
            through = _through(rollout, (PhaseTime(phase, ms),))
            return replace(through, outcome="running", waiting=phase == "ready")
        case Promoted():
            return replace(rollout, waiting=False)
        case ActivationRolledBack(model=model):
            return replace(rollout, stays=model)
        case _:
            return _ended(rollout, event)


def _ended(rollout: Rollout, event: RuntimeEvent) -> Rollout:
    over = replace(rollout, phase="", waiting=False)
    match event:
        case ActivationCompleted(ms=ms, phases=phases):
            return replace(over, outcome="completed", ms=ms, phases=phases or over.phases)
        case ActivationFailed(code=code, message=message, phases=phases):
            outcome: ActivationOutcome = "rolledback" if code == GIVEN_UP else "failed"
            failed = replace(over, outcome=outcome, code=code, message=message)
            return replace(failed, phases=phases or over.phases)
        case DeactivationCompleted():
            return replace(over, outcome="completed")
        case DeactivationFailed(code=code, message=message):
            return replace(over, outcome="failed", code=code, message=message)
        case _:
            return rollout


def _seen(rollout: Rollout, row: ActivationRow) -> Rollout:
    """A row tells how long phases took, the last of those begun included."""
    finished = row.phases if row.ended_at else row.phases[:-1]
    return Rollout(
        slot=row.slot,
        id=row.id,
        kind=row.kind,
        outcome=row.outcome,
        model=row.model,
        by=row.by,
        phase=row.phase,
        began=sum(phase.ms for phase in finished),
        phases=finished,
        ms=row.ms if row.ended_at else 0,
        waiting=row.phase == "ready" and row.hold and not row.promoted_by,
        code=row.code,
        message=row.message,
        stays=row.returned_to,
        correlation=row.correlation,
        position=max(row.position, rollout.position),
    )
