"""Other names of models: each alias owns which model it means.

Types and field names below are the stored format: add, never rename or repurpose.
"""

from typing import TypeAlias

from schemas.message import Command, Event
from schemas.names import ModelId

AGGREGATE = "alias"


class SetAlias(Command):
    """Let `alias` mean `model` from now on, whatever it meant before; None is nothing.

    With `before`, only if that is what it means until now.
    """

    alias: ModelId
    model: ModelId | None
    before: ModelId | None = None


class AliasSet(Event, tag="model.alias.set"):
    """`before` is what it meant until now."""

    alias: str
    model: str
    before: str = ""


AliasCommand: TypeAlias = SetAlias
AliasEvent: TypeAlias = AliasSet
