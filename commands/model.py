"""Deciding about one model of the catalog. Pure: no clock, no network, no logging."""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from commands.decider import Decider
from schemas.manifest import MAX_MANIFEST_BYTES, Manifest
from schemas.message import Rejected
from schemas.model import (
    AGGREGATE,
    DeleteModel,
    Model,
    ModelCommand,
    ModelDeleted,
    ModelEvent,
    ModelRegistered,
    ModelUpdated,
    RegisterModel,
)
from schemas.names import name_id


def decide(model: Model, command: ModelCommand) -> Sequence[ModelEvent]:
    match command:
        case RegisterModel(manifest=manifest):
            return _register(model, manifest)
        case DeleteModel(model=id):
            if model.manifest is None:
                raise Rejected("not_found", f"no model {id}")
            return [ModelDeleted(id)]
        case _:
            assert_never(command)


def _register(model: Model, manifest: Manifest) -> Sequence[ModelEvent]:
    if model.manifest == manifest:
        return []
    size = len(msgspec.json.encode(manifest))
    if size > MAX_MANIFEST_BYTES:
        raise Rejected(
            "too_large",
            f"the manifest of {manifest.id} has {size} bytes; {MAX_MANIFEST_BYTES} are allowed",
            bytes=size,
            most=MAX_MANIFEST_BYTES,
        )
    if model.manifest is None:
        return [ModelRegistered(manifest.id, manifest)]
    return [ModelUpdated(manifest.id, manifest)]


def evolve(model: Model, event: ModelEvent) -> Model:
    match event:
        case ModelRegistered(manifest=manifest) | ModelUpdated(manifest=manifest):
            return Model(manifest)
        case ModelDeleted():
            return Model()
        case _:
            assert_never(event)


def _id(command: ModelCommand) -> str:
    match command:
        case RegisterModel(manifest=manifest):
            return name_id(manifest.id)
        case DeleteModel(model=model):
            return name_id(model)
        case _:
            assert_never(command)


decider = Decider(AGGREGATE, Model(), decide, evolve, _id)
