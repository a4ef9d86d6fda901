"""The other names of models, and what they meant: one row for each that means something."""

import msgspec

from projections.fold import PerAggregate, Projection
from projections.rows import Part, one, page_of
from projections.table import Db, Table
from schemas.alias import AGGREGATE, AliasEvent
from schemas.api.models import AliasRow
from schemas.api.problem import Page
from schemas.log import Commit
from schemas.names import name_id


def evolve(row: AliasRow | None, event: AliasEvent, commit: Commit) -> AliasRow | None:
    if not event.model:
        return None
    return AliasRow(
        namespace=commit.stream.namespace,
        id=commit.stream.id,
        name=event.alias,
        model=event.model,
        position=commit.position,
        updated_at=commit.at,
        updated_by=commit.actor,
    )


fold = PerAggregate(AGGREGATE, evolve)
aliases = Table(
    name="aliases",
    row=AliasRow,
    key=("namespace", "id"),
    order=("name", "namespace"),
    changes=fold.changes,
    indexes=(("namespace", "model"),),
    history=True,
)
projection = Projection("aliases", (aliases,), __file__, AliasEvent)


class Wanted(msgspec.Struct, frozen=True):
    """Which aliases; None is all. `models` are those they mean, in whatever namespace."""

    namespace: str | None
    name: str | None = None
    models: tuple[str, ...] | None = None


async def page(db: Db, wanted: Wanted, part: Part) -> Page[AliasRow]:
    """By name. Raises `Rejected` with `invalid_cursor`."""
    if wanted.models == ():
        return Page(())
    return await page_of(
        db,
        aliases,
        [
            ("namespace = %s", wanted.namespace),
            ("name = %s", wanted.name),
            ("model = ANY(%s)", list(wanted.models or ())),
        ],
        part,
        ascending=True,
    )


async def get(db: Db, namespace: str, name: str, as_of: int | None = None) -> AliasRow | None:
    return await one(db, aliases, (namespace, name_id(name)), as_of)
