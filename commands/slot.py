"""What the events of a slot make of it: the steps of an activation, and what each leaves behind.

Pure: no clock, no network, no logging.
"""

from msgspec.structs import replace

from commands.flights import alike
from schemas.runtime import (
    ActivationPhase,
    ActivationRequested,
    Before,
    Flight,
    PhaseTime,
    Served,
    SlotState,
)

LEAVING_KEPT = 8
"""Of a slot whose activations fail again and again: what else is left there is found by looking."""


def requested(event: ActivationRequested) -> Flight:
    return Flight(
        served=event.served,
        strategy=event.strategy,
        by=event.by,
        preempt=event.preempt,
        hold=event.hold,
        back=event.back,
        timeout=event.timeout,
    )


def fly(slot: SlotState, **changes: object) -> SlotState:
    """The slot, with these changes to its activation under way."""
    assert slot.flight is not None
    return replace(slot, flight=replace(slot.flight, **changes))


def entered(slot: SlotState, event: ActivationPhase) -> SlotState:
    """From the switch on, the candidate is who serves."""
    assert slot.flight is not None
    begun = (*slot.flight.phases, PhaseTime(event.phase, event.ms))
    if event.phase != "switch":
        stopped = slot.stopped or event.phase == "stop"
        return replace(fly(slot, phases=begun), stopped=stopped)
    before = Before(slot.current, slot.previous, slot.replicas, slot.drift)
    return replace(
        fly(slot, phases=begun, before=before),
        current=slot.flight.served,
        previous=slot.current,
        leaving=_left(slot.leaving, slot.current),
        replicas=None,
        drift=(),
        stopped=False,
    )


def completed(slot: SlotState) -> SlotState:
    """Nothing of the one before is left; who to go back to is the last that served otherwise."""
    assert slot.flight is not None
    assert slot.flight.before is not None
    assert slot.current is not None
    former = (slot.previous, slot.flight.before.previous)
    others = (one for one in former if one is not None and not alike(one, slot.current))
    return replace(slot, flight=None, previous=next(others, None), leaving=())


def came_to_nothing(slot: SlotState) -> SlotState:
    """The slot as it was before its activation, whose candidate is to go."""
    assert slot.flight is not None
    served, before = slot.flight.served, slot.flight.before
    ended = replace(slot, flight=None, leaving=_left(slot.leaving, served))
    if before is None:
        return ended
    stays = before.current.id if before.current is not None else ""
    return replace(
        ended,
        current=before.current,
        previous=before.previous,
        leaving=tuple(gone for gone in ended.leaving if gone.id != stays),
        replicas=before.replicas,
        drift=before.drift,
        stopped=True,
    )


def deactivated(slot: SlotState) -> SlotState:
    """Empty; who served leaves, and may be gone back to."""
    return replace(
        slot,
        current=None,
        previous=slot.current,
        deactivation=None,
        leaving=_left((), slot.current),
        replicas=None,
        drift=(),
        stopped=False,
    )


def _left(leaving: tuple[Served, ...], gone: Served | None) -> tuple[Served, ...]:
    return (*leaving, gone)[-LEAVING_KEPT:] if gone is not None else leaving
