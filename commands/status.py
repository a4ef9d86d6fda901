"""Deciding whether what is seen of a slot is news. Pure: no clock, no network, no logging."""

from collections.abc import Sequence

from commands.decider import Decider
from schemas.status import AGGREGATE, SlotStatus, StatusCommand, StatusEvent, StatusUpdated


def decide(status: SlotStatus, command: StatusCommand) -> Sequence[StatusEvent]:
    if command.status == status:
        return []
    return [StatusUpdated(command.slot, command.status)]


def evolve(_: SlotStatus, event: StatusEvent) -> SlotStatus:
    return event.status


decider = Decider(
    AGGREGATE, SlotStatus(), decide, evolve, lambda command: command.slot, by_last=True
)
