"""What routes say of models: their rows, with what else is known of each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from gateway.differences import differences
from gateway.reading import View
from projections import aliases, models, runtime, weights
from projections.fold import events_of
from projections.rows import all_of
from schemas import alias as alias_schema
from schemas.api.models import Change, ModelDetail, ModelRow, ModelVersion
from schemas.api.problem import Page
from schemas.api.runtime import SlotRow
from schemas.engine import suited
from schemas.log import Commit, EventLog, Outcome, Stream
from schemas.manifest import Manifest
from schemas.message import Rejected
from schemas.model import ModelDeleted, ModelEvent, ModelRegistered, ModelUpdated
from schemas.names import name_id

MODELS = [one.projection.name for one in (models, aliases, runtime, weights)]
"""The read models that a model's details are in."""

CHANGES: Mapping[type[ModelEvent], Change] = {
    ModelRegistered: "registered",
    ModelUpdated: "updated",
    ModelDeleted: "deleted",
}


async def found(view: View, namespace: str, name: str) -> ModelRow | None:
    """The model of that id; else the one that is meant by that alias."""
    row = await models.get(view.db, namespace, name, view.as_of)
    if row is not None:
        return row
    meant = await aliases.get(view.db, namespace, name, view.as_of)
    if meant is None:
        return None
    return await models.get(view.db, namespace, meant.model, view.as_of)


async def meant(view: View, namespace: str | None, alias: str) -> tuple[str, ...]:
    """Which models an alias means, as `namespace/name`."""
    wanted = aliases.Wanted(namespace, alias)
    rows = await all_of(lambda part: aliases.page(view.db, wanted, part), view.as_of)
    return tuple(f"{row.namespace}/{row.model}" for row in rows)


async def detailed(
    view: View, namespace: str | None, rows: Sequence[ModelRow], world: str
) -> tuple[ModelDetail, ...]:
    """Models, each with its aliases, the slots it serves in, and its engine in such a world."""
    names = tuple(row.name for row in rows)
    named = aliases.Wanted(namespace, models=names)
    serving = runtime.Wanted(namespace, models=names)
    also: dict[tuple[str, str], list[str]] = defaultdict(list)
    where: dict[tuple[str, str], list[str]] = defaultdict(list)
    for alias in await all_of(lambda part: aliases.page(view.db, named, part), view.as_of):
        also[alias.namespace, alias.model].append(alias.name)
    for slot in await all_of(lambda part: runtime.page(view.db, serving, part), view.as_of):
        where[slot.namespace, slot.model].append(slot.slot)
    engines = await chosen(view, namespace, rows, world)
    return tuple(
        ModelDetail(
            **msgspec.structs.asdict(row),
            aliases=tuple(sorted(also[row.namespace, row.name])),
            slots=tuple(sorted(where[row.namespace, row.name])),
            engine=engine(row, engines),
        )
        for row in rows
    )


async def served_by(view: View, wanted: models.Wanted, name: str, world: str) -> tuple[str, ...]:
    """Which of the wanted models are of that engine in such a world, as `namespace/name`."""
    rows = await all_of(lambda part: models.page(view.db, wanted, part), view.as_of)
    engines = await chosen(view, wanted.namespace, rows, world)
    return tuple(f"{row.namespace}/{row.name}" for row in rows if engine(row, engines) == name)


def engine(row: ModelRow | SlotRow, engines: Mapping[tuple[str, str], str]) -> str:
    """The one that the manifest names, or that is `chosen`; empty where nobody knows."""
    return row.runtime or engines.get((row.namespace, row.target), "")


async def chosen(
    view: View, namespace: str | None, rows: Sequence[ModelRow | SlotRow], world: str
) -> Mapping[tuple[str, str], str]:
    """The engine for the weights of models that name none, by the weights' namespace and name.

    A cluster chooses as the model starts.
    """
    if world != "process":
        return {}
    targets = tuple({row.target for row in rows if not row.runtime})
    wanted = weights.Wanted(namespace, names=targets)
    found = await all_of(lambda part: weights.page(view.db, wanted, part), view.as_of)
    return {
        (one.namespace, one.name): suited(gguf=bool(one.facts.gguf_files))
        for one in found
        if one.facts is not None
    }


def whole(outcome: Outcome) -> ModelRow:
    """The model that a manifest which was applied made, whatever became of it since."""
    last = outcome.commit or outcome.history[-1]
    row = models.fold.row_of(outcome.history[: outcome.history.index(last) + 1])
    assert row is not None, "a manifest that was applied is there"
    return row


def page_of_versions(
    commits: Iterable[Commit], limit: int, cursor: str | None
) -> Page[ModelVersion]:
    """The newest `limit` versions, or those before the one that `cursor` names.

    Raises `Rejected` with `invalid_cursor`.
    """
    if cursor is not None and not (cursor.isascii() and cursor.isdecimal()):
        raise Rejected("invalid_cursor", "the cursor is not one of this list's")
    before = int(cursor[:20]) if cursor else None
    found = [one for one in versions(commits) if before is None or one.version < before]
    newest = found[::-1][:limit]
    return Page(tuple(newest), str(newest[-1].version) if len(found) > limit else None)


def versions(commits: Iterable[Commit]) -> Iterator[ModelVersion]:
    """What became of a model, oldest first."""
    before: Manifest | None = None
    for commit in commits:
        for event in events_of(commit):
            if isinstance(event, ModelRegistered | ModelUpdated | ModelDeleted):
                now = None if isinstance(event, ModelDeleted) else event.manifest
                changed = differences(before, now) if before and now else ()
                paths = tuple(change.path for change in changed)
                said = CHANGES[type(event)]
                yield ModelVersion(commit.position, commit.at, commit.actor, said, paths)
                before = now


async def refuse_other_alias(log: EventLog, namespace: str, alias: str, model: str) -> None:
    """Raises `Rejected` with `not_found` when the alias does not mean the model."""
    stream = Stream(namespace, alias_schema.AGGREGATE, name_id(alias))
    row = aliases.fold.row_of(await log.load(stream))
    if row is None or row.model != model:
        raise Rejected("not_found", f"{alias} is no alias of {model}")
