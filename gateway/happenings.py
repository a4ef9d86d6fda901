"""What happened to a slot, told in a line each, for people."""

from typing import TypeGuard, assert_never

from projections.fold import events_of
from schemas.api.runtime import RuntimeEventRow
from schemas.log import AnyEvent, Commit
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
    Promoted,
    RuntimeEvent,
    Scaled,
)
from schemas.status import Health, StatusUpdated
from schemas.workloads import WorldEvent

TYPES = ("model.activation.*", "model.deactivation.*", "runtime.*", "model.status.updated")
BAD: frozenset[Health] = frozenset({"degraded", "failed"})


def from_log(commit: Commit) -> tuple[RuntimeEventRow, ...]:
    """The events of one commit about a slot, or about what is seen of it."""
    return tuple(
        _row(event, commit)
        for event in events_of(commit)
        if is_about_slot(event) or isinstance(event, StatusUpdated)
    )


def from_world(event: WorldEvent, slot: str) -> RuntimeEventRow:
    return RuntimeEventRow(
        event.at,
        "world",
        event.kind,
        slot,
        event.reason,
        event.message,
        event.object,
        event.count,
    )


def is_about_slot(event: AnyEvent) -> TypeGuard[RuntimeEvent]:
    return isinstance(event, RuntimeEvent)


def _row(event: RuntimeEvent | StatusUpdated, commit: Commit) -> RuntimeEventRow:
    return RuntimeEventRow(
        at=commit.at,
        source="log",
        kind="warning" if _is_bad(event) else "normal",
        slot=commit.stream.id,
        reason=str(type(event).__struct_config__.tag),
        message=said(event),
        object=f"slot/{commit.stream.id}",
        sequence=commit.position,
    )


def _is_bad(event: RuntimeEvent | StatusUpdated) -> bool:
    match event:
        case ActivationFailed() | DeactivationFailed():
            return True
        case DriftDetected(corrected=corrected):
            return not corrected
        case StatusUpdated(status=status):
            return status.health in BAD
        case _:
            return False


def said(event: RuntimeEvent | StatusUpdated) -> str:
    match event:
        case ActivationRequested(served=served, by=by, strategy=strategy, back=back):
            again = " again" if back else ""
            return f"{served.model} is to serve{again} ({strategy}), as {by} asks"
        case ActivationStarted(worker=worker):
            return f"{worker} sees to it"
        case ActivationPhase(phase=phase, ms=ms):
            return f"{phase}, after {ms} ms"
        case ActivationCompleted(model=model, ms=ms):
            return f"{model} serves, after {ms} ms"
        case ActivationFailed(model=model, code=code, message=message):
            return f"{model} does not come to serve ({code}): {message}"
        case ActivationRolledBack(model=model):
            return f"{model} is to serve again, or still"
        case DeactivationStarted(model=model, by=by):
            return f"{model} is to stop, as {by} asks"
        case DeactivationCompleted(model=model):
            return f"{model} has stopped"
        case DeactivationFailed(code=code, message=message):
            return f"it does not stop ({code}): {message}"
        case Promoted(candidate=candidate, by=by):
            return f"{candidate} is promoted by {by}"
        case Scaled(replicas=replicas, by=by):
            return f"{replicas} replicas, as {by} asks"
        case DriftDetected(fields=fields, corrected=corrected):
            put_right = "put right: " if corrected else ""
            return f"{put_right}not as it was applied: {', '.join(fields)}"
        case StatusUpdated():
            return _seen(event)
        case _:
            assert_never(event)


def _seen(event: StatusUpdated) -> str:
    status = event.status
    ready = f"{status.replicas_ready} of {status.replicas} ready"
    named = f"{status.model}: " if status.model else ""
    return f"{named}{status.health}, {ready}" + (f"; {status.message}" if status.message else "")
