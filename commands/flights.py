"""What decisions about activations are made of: places, times, who is in whose way, who is needed.

Pure: no clock, no network, no logging.
"""

from schemas.message import Rejected
from schemas.runtime import Flight, PhaseTime, Place, Served, SlotState, Strategy


def place_of(current: Served | None, strategy: Strategy) -> Place:
    """Where the next instance stands: in the stead of the current one, or beside it."""
    if current is None:
        return "a"
    if strategy == "direct":
        return current.place
    return "b" if current.place == "a" else "a"


def alike(one: Served, other: Served) -> bool:
    """Whether both serve the same: the model, and what its manifest was."""
    return (one.model, one.version, one.manifest) == (other.model, other.version, other.manifest)


def busy(flight: Flight, slot: str) -> Rejected:
    """Whose activation is in the way, of what, and how far it is."""
    phase = flight.phase or "requested"
    return Rejected(
        "conflict",
        f"{flight.by} is activating {flight.served.model} in {slot} ({flight.strategy}, {phase});"
        " rolling back ends it",
        activation=flight.served.id,
        model=flight.served.model,
        by=flight.by,
        strategy=flight.strategy,
        phase=phase,
        remedy=f"mllm rollout status {slot}; or end it:"
        f" mllm runtime rollback {slot} --activation {flight.served.id}",
    )


def moved_on(slot: SlotState, expected: str) -> Rejected:
    """Another activation is under way than the one that was to be given up, or none."""
    if slot.flight is not None:
        return busy(slot.flight, slot.slot)
    current = slot.current.model if slot.current is not None else ""
    return Rejected(
        "conflict",
        f"activation {expected} is over; {current or 'nothing'} serves in {slot.slot}",
        activation=expected,
        current=current,
        remedy=f"mllm runtime status {slot.slot}",
    )


def times(flight: Flight, ms: int) -> tuple[PhaseTime, ...]:
    """How long each phase took, the last of them until `ms`."""
    begins = [begun.ms for begun in flight.phases]
    return tuple(
        PhaseTime(begun.phase, max(0, end - begun.ms))
        for begun, end in zip(flight.phases, [*begins[1:], ms], strict=False)
    )


def not_ready(flight: Flight) -> Rejected:
    model, phase = flight.served.model, flight.phase or "requested"
    why = "does not wait to be promoted" if not flight.hold else "is not ready to be promoted"
    return Rejected(
        "not_ready",
        f"{model} {why} ({flight.strategy}, {phase})",
        activation=flight.served.id,
        hold=flight.hold,
        phase=phase,
    )


def relies_on(slot: SlotState, model: str, target: str, *, gone: str = "") -> bool:
    """Whether the slot needs these weights for this model: for who serves, who is to, or who may
    have to serve again. `gone` is one who is being deactivated, and of whom nothing is left."""
    flight, current = slot.flight, slot.current
    needed = [flight.served] if flight is not None else []
    if current is not None and not (slot.deactivation is not None and current.id == gone):
        needed.append(current)
    if flight is not None and flight.before is not None and flight.phase != "remove":
        needed += [flight.before.current] if flight.before.current is not None else []
    return any((served.model, served.target) == (model, target) for served in needed)
