"""What may be asked of a model in the catalog, and what may become true of it.

Every version of a manifest stays in the log, at the position that is its version. A model relies on
its weights, and a slot that serves it does too: whether either may go is decided by the weights.
Types and field names below are the stored format: add, never rename or repurpose.
"""

from typing import TypeAlias

from schemas.manifest import Manifest
from schemas.message import Command, Event, Value
from schemas.names import ModelId

AGGREGATE = "model"


class RegisterModel(Command):
    """Make this the model's manifest: its first, or the next."""

    manifest: Manifest


class DeleteModel(Command):
    model: ModelId


ModelCommand: TypeAlias = RegisterModel | DeleteModel


class ModelRegistered(Event, tag="model.registered"):
    model: str
    manifest: Manifest


class ModelUpdated(Event, tag="model.updated"):
    model: str
    manifest: Manifest


class ModelDeleted(Event, tag="model.deleted"):
    model: str


ModelEvent: TypeAlias = ModelRegistered | ModelUpdated | ModelDeleted


class Model(Value):
    """What a model is now: no manifest is no model."""

    manifest: Manifest | None = None


class Registered(Value):
    """A model as whoever acts on it needs to know it. `version` is the manifest's position."""

    manifest: Manifest
    version: int
