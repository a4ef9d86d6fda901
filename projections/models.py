"""The models of the catalog, and what they were: one row for each."""

from typing import assert_never

import msgspec

from projections.fold import PerAggregate, Projection
from projections.rows import Condition, Part, one, page_of
from projections.table import Db, Table
from schemas.api.models import ModelRow
from schemas.api.problem import Page
from schemas.log import Commit
from schemas.model import AGGREGATE, ModelDeleted, ModelEvent, ModelRegistered, ModelUpdated
from schemas.names import name_id

set_ = msgspec.structs.replace


def evolve(row: ModelRow | None, event: ModelEvent, commit: Commit) -> ModelRow | None:
    match event:
        case ModelRegistered():
            return _said(event, commit)
        case ModelUpdated():
            said = _said(event, commit)
            return said if row is None else set_(said, registered_at=row.registered_at)
        case ModelDeleted():
            return None
        case _:
            assert_never(event)


def _said(event: ModelRegistered | ModelUpdated, commit: Commit) -> ModelRow:
    manifest = event.manifest
    return ModelRow(
        namespace=commit.stream.namespace,
        id=commit.stream.id,
        name=event.model,
        version=commit.position,
        manifest=manifest,
        registered_at=commit.at,
        updated_at=commit.at,
        updated_by=commit.actor,
        position=commit.position,
        display_name=manifest.display_name,
        target=manifest.weights.name,
        repo=manifest.weights.repo,
        runtime=manifest.runtime,
        license=manifest.license,
        description=manifest.description,
        labels=manifest.labels,
        replicas=manifest.replicas,
    )


fold = PerAggregate(AGGREGATE, evolve)
models = Table(
    name="models",
    row=ModelRow,
    key=("namespace", "id"),
    order=("name", "namespace"),
    changes=fold.changes,
    indexes=(("namespace", "name"), ("target",)),
    history=True,
)
projection = Projection("models", (models,), __file__, ModelEvent)


class Wanted(msgspec.Struct, frozen=True):
    """Which models; None is all. `names` are `namespace/name`, `label` a key, or `key=value`."""

    namespace: str | None
    target: str | None = None
    label: str | None = None
    names: tuple[str, ...] | None = None


async def page(db: Db, wanted: Wanted, part: Part) -> Page[ModelRow]:
    """By name. Raises `Rejected` with `invalid_cursor`."""
    if wanted.names == ():
        return Page(())
    return await page_of(
        db,
        models,
        [
            ("namespace = %s", wanted.namespace),
            ("target = %s", wanted.target),
            ("namespace || '/' || name = ANY(%s)", list(wanted.names or ())),
            _labelled(wanted.label),
        ],
        part,
        ascending=True,
    )


def _labelled(label: str | None) -> Condition:
    """Postgres' own questions of JSON: whether it has a key, or holds a pair."""
    key, equals, value = (label or "").partition("=")
    if not equals:
        return "labels ? %s", key or None
    return "labels @> %s::jsonb", msgspec.json.encode({key: value}).decode()


async def get(db: Db, namespace: str, name: str, as_of: int | None = None) -> ModelRow | None:
    return await one(db, models, (namespace, name_id(name)), as_of)
