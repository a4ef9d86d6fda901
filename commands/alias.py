"""Deciding which model an alias means. Pure: no clock, no network, no logging."""

from collections.abc import Sequence
from dataclasses import dataclass

from commands.decider import Decider
from schemas.alias import AGGREGATE, AliasCommand, AliasEvent, AliasSet
from schemas.message import Rejected
from schemas.names import name_id


@dataclass(frozen=True)
class Alias:
    """An empty `model` is nothing."""

    name: str = ""
    model: str = ""


def decide(alias: Alias, command: AliasCommand) -> Sequence[AliasEvent]:
    if command.before is not None and command.before != alias.model:
        return []
    if command.model is None and not alias.model:
        raise Rejected("not_found", f"alias {command.alias} means nothing")
    if command.model == alias.model:
        return []
    return [AliasSet(command.alias, command.model or "", alias.model)]


def evolve(_: Alias, event: AliasEvent) -> Alias:
    return Alias(event.alias, event.model)


decider = Decider(AGGREGATE, Alias(), decide, evolve, lambda command: name_id(command.alias))
