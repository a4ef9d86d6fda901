"""Deciding who serves in one slot. Pure: no clock, no network, no logging.

One activation at a time. Its candidate becomes the slot's current model at the `switch`, which
every activation passes exactly once, whatever its strategy; until the activation has completed, it
may still fail, and then the slot is what it was before.
"""

from collections.abc import Sequence
from typing import assert_never

from msgspec.structs import replace

from commands.decider import Decider
from commands.flights import alike, busy, moved_on, not_ready, place_of, times
from commands.slot import came_to_nothing, completed, deactivated, entered, fly, requested
from schemas.message import Rejected
from schemas.runtime import (
    AGGREGATE,
    ActivateModel,
    ActivationCompleted,
    ActivationFailed,
    ActivationPhase,
    ActivationRequested,
    ActivationRolledBack,
    ActivationStarted,
    CompleteActivation,
    CompleteDeactivation,
    DeactivateSlot,
    Deactivation,
    DeactivationCompleted,
    DeactivationFailed,
    DeactivationStarted,
    DriftDetected,
    EnterPhase,
    FailActivation,
    FailDeactivation,
    Flight,
    Phase,
    PromoteCandidate,
    Promoted,
    ReportDrift,
    RollBack,
    RuntimeCommand,
    RuntimeEvent,
    Scaled,
    ScaleSlot,
    Served,
    SlotState,
    StartActivation,
)

AFTER_SWITCH: frozenset[Phase] = frozenset({"drain", "remove"})


def decide(slot: SlotState, command: RuntimeCommand) -> Sequence[RuntimeEvent]:
    match command:
        case ActivateModel():
            return _activate(slot, command)
        case StartActivation(activation=id, worker=worker):
            flight = _flight(slot, id)
            return [] if flight.started else [ActivationStarted(slot.slot, id, worker)]
        case EnterPhase():
            return _enter(slot, command)
        case CompleteActivation():
            return _complete(slot, command)
        case FailActivation():
            return _fail(slot, command)
        case PromoteCandidate():
            return _promote(slot, command)
        case RollBack():
            return _roll_back(slot, command)
        case DeactivateSlot():
            return _deactivate(slot, command)
        case CompleteDeactivation(deactivation=id):
            return [DeactivationCompleted(slot.slot, id, _deactivating(slot, id).model)]
        case FailDeactivation(deactivation=id, code=code, message=message):
            _deactivating(slot, id)
            return [DeactivationFailed(slot.slot, id, code, message)]
        case ScaleSlot():
            return _scale(slot, command)
        case ReportDrift():
            return _report_drift(slot, command)
        case _:
            assert_never(command)


def _activate(slot: SlotState, command: ActivateModel) -> Sequence[RuntimeEvent]:
    flight, current = slot.flight, slot.current
    if flight is not None:
        under_way = (flight.served.model, flight.served.version, flight.strategy)
        if under_way == (command.model, command.version, command.strategy):
            return []
        raise busy(flight, command.slot)
    _refuse_deactivating(slot)
    served = Served(
        id=command.activation,
        model=command.model,
        version=command.version,
        manifest=command.manifest,
        target=command.target,
        store=command.store,
        place=place_of(current, command.strategy),
    )
    if current is not None and alike(current, served) and not _is_wanting(slot, command):
        return []
    return [
        ActivationRequested(
            command.slot,
            served,
            command.strategy,
            command.by,
            command.preempt,
            command.hold,
            timeout=command.timeout,
        )
    ]


def _is_wanting(slot: SlotState, command: ActivateModel) -> bool:
    """Whether the current one, though the right one, does not serve as it should: it is gone,
    scaled to nothing, or not any more what was applied."""
    return command.anew or slot.replicas == 0 or bool(slot.drift)


def _refuse_deactivating(slot: SlotState) -> None:
    if slot.deactivation is not None:
        id, by = slot.deactivation.id, slot.deactivation.by
        model = slot.current.model if slot.current is not None else ""
        raise Rejected(
            "conflict",
            f"{by} is deactivating {model} in {slot.slot}",
            deactivation=id,
            model=model,
            by=by,
            remedy=f"mllm rollout status {slot.slot}",
        )


def _flight(slot: SlotState, activation: str) -> Flight:
    """The activation under way, which has to be this one."""
    if slot.flight is None or slot.flight.served.id != activation:
        raise Rejected("fenced", f"activation {activation} is not under way in {slot.slot}")
    return slot.flight


def _deactivating(slot: SlotState, deactivation: str) -> Served:
    """Who leaves, in the deactivation under way, which has to be this one."""
    under_way = slot.deactivation
    if under_way is None or under_way.id != deactivation or slot.current is None:
        raise Rejected("fenced", f"deactivation {deactivation} is not under way in {slot.slot}")
    return slot.current


def _enter(slot: SlotState, command: EnterPhase) -> Sequence[RuntimeEvent]:
    """A phase is entered once: whoever comes back to it after a crash goes on in it."""
    flight, phase = _flight(slot, command.activation), command.phase
    if phase != "switch" and (phase in AFTER_SWITCH) != slot.switched:
        side = "after" if slot.switched else "before"
        raise Rejected("conflict", f"there is no {phase} {side} the switch")
    if any(begun.phase == phase for begun in flight.phases):
        return []
    if phase == "switch" and flight.hold and not flight.promoted:
        raise Rejected("conflict", f"{flight.served.model} waits to be promoted")
    return [ActivationPhase(slot.slot, command.activation, phase, command.ms)]


def _complete(slot: SlotState, command: CompleteActivation) -> Sequence[RuntimeEvent]:
    flight = _flight(slot, command.activation)
    if not slot.switched:
        raise Rejected("conflict", f"{flight.served.model} does not serve in {slot.slot} yet")
    return [
        ActivationCompleted(
            slot.slot,
            command.activation,
            flight.served.model,
            command.ms,
            times(flight, command.ms),
        )
    ]


def _fail(slot: SlotState, command: FailActivation) -> Sequence[RuntimeEvent]:
    """Whoever saw it fail in a phase that is over saw what has passed."""
    flight = _flight(slot, command.activation)
    if flight.phase != command.phase:
        raise Rejected("fenced", f"activation {command.activation} is not in {command.phase} now")
    return _end(slot, _failed(slot, flight, command.code, command.message, command.ms))


def _failed(slot: SlotState, flight: Flight, code: str, message: str, ms: int) -> ActivationFailed:
    id, model = flight.served.id, flight.served.model
    return ActivationFailed(slot.slot, id, model, code, message, times(flight, ms))


def _end(slot: SlotState, failed: ActivationFailed, by: str = "") -> Sequence[RuntimeEvent]:
    """The end of an activation that came to nothing: who served before does again, or still."""
    stays = evolve(slot, failed).current
    if stays is None:
        return [failed]
    return [failed, ActivationRolledBack(slot.slot, failed.activation, stays.model, by)]


def _promote(slot: SlotState, command: PromoteCandidate) -> Sequence[RuntimeEvent]:
    flight, current = slot.flight, slot.current.model if slot.current is not None else ""
    if flight is None or flight.served.model != command.candidate:
        raise Rejected(
            "not_found",
            f"{command.candidate or 'nobody'} is no candidate in {command.slot}",
            remedy=_look(command.slot),
        )
    if flight.promoted:
        return []
    if command.current is not None and command.current != current:
        there = f"{current} serves" if current else "nothing serves"
        raise Rejected(
            "conflict",
            f"{there} in {slot.slot}, not {command.current}",
            current=current,
            remedy=_look(slot.slot),
        )
    if not flight.hold or flight.phase != "ready":
        raise not_ready(flight)
    id = flight.served.id
    return [Promoted(slot.slot, id, command.candidate, current, command.by)]


def _roll_back(slot: SlotState, command: RollBack) -> Sequence[RuntimeEvent]:
    flight, previous = slot.flight, slot.previous
    under_way = flight.served.id if flight is not None else ""
    if command.ends not in (None, under_way):
        raise moved_on(slot, command.ends)
    if flight is not None:
        begun = flight.phases[-1].ms if flight.phases else 0
        message = f"rolled back by {command.by}"
        failed = _failed(slot, flight, "rolled_back", message, max(begun, command.ms))
        return _end(slot, failed, command.by)
    _refuse_deactivating(slot)
    if previous is None:
        raise Rejected(
            "nothing_to_roll_back",
            f"nothing served in {command.slot} before",
            remedy=_look(command.slot),
        )
    place = place_of(slot.current, command.strategy)
    served = replace(previous, id=command.activation, place=place)
    return [
        ActivationRequested(
            command.slot,
            served,
            command.strategy,
            command.by,
            back=True,
            timeout=command.timeout,
        )
    ]


def _deactivate(slot: SlotState, command: DeactivateSlot) -> Sequence[RuntimeEvent]:
    if slot.flight is not None:
        raise busy(slot.flight, slot.slot)
    if slot.deactivation is not None:
        return []
    current = _current(slot, command.slot)
    return [DeactivationStarted(slot.slot, command.deactivation, current.model, command.by)]


def _current(slot: SlotState, name: str) -> Served:
    if slot.current is None:
        raise Rejected("not_found", f"nothing serves in {name}", remedy=_look(name))
    return slot.current


def _look(slot: str) -> str:
    """Where to see what is there."""
    return f"mllm runtime status {slot}"


def _scale(slot: SlotState, command: ScaleSlot) -> Sequence[RuntimeEvent]:
    """Who serves is scaled, once it does for good: until then it has to show that it answers."""
    if slot.flight is not None and slot.switched:
        raise busy(slot.flight, slot.slot)
    limits = _current(slot, command.slot).manifest.replicas
    most = min(command.most, limits.max)
    if not 0 <= command.replicas <= most:
        raise Rejected(
            "invalid",
            f"{command.slot} can have 0 to {most} replicas, not {command.replicas}",
            replicas=command.replicas,
            most=most,
            manifest=limits.max,
            runtime=command.most,
            remedy=f"this runtime has at most {command.most}"
            if command.replicas > command.most
            else "raise `replicas.max` of its manifest, and activate it again",
        )
    now = slot.replicas if slot.replicas is not None else max(1, limits.min)
    if command.replicas == now:
        return []
    return [Scaled(slot.slot, command.replicas, command.by)]


def _report_drift(slot: SlotState, command: ReportDrift) -> Sequence[RuntimeEvent]:
    """Nothing that drifts any more where something did was put right, too."""
    current = slot.current
    if current is None or current.id != command.served:
        raise Rejected("fenced", f"{command.served} does not serve in {command.slot}")
    fields = tuple(sorted(set(command.fields)))
    if not fields:
        gone = slot.drift
        return [DriftDetected(slot.slot, current.model, gone, True)] if gone else []
    if fields == slot.drift and not command.corrected:
        return []
    return [DriftDetected(slot.slot, current.model, fields, command.corrected)]


def evolve(slot: SlotState, event: RuntimeEvent) -> SlotState:
    match event:
        case ActivationRequested():
            return replace(slot, slot=event.slot, flight=requested(event))
        case ActivationStarted():
            return fly(slot, started=True)
        case ActivationPhase():
            return entered(slot, event)
        case ActivationCompleted():
            return completed(slot)
        case ActivationFailed():
            return came_to_nothing(slot)
        case ActivationRolledBack():
            return slot
        case DeactivationStarted(deactivation=id, by=by):
            return replace(slot, deactivation=Deactivation(id, by))
        case DeactivationCompleted():
            return deactivated(slot)
        case DeactivationFailed():
            return replace(slot, deactivation=None)
        case Promoted():
            return fly(slot, promoted=True)
        case Scaled(replicas=replicas):
            return replace(slot, replicas=replicas)
        case DriftDetected(fields=fields, corrected=corrected):
            return replace(slot, drift=() if corrected else fields)
        case _:
            assert_never(event)


decider = Decider(AGGREGATE, SlotState(), decide, evolve, lambda command: command.slot)
