"""The weights there are, and what there were: one row for each target."""

from typing import assert_never

import msgspec

from projections.fold import PerAggregate, Projection
from projections.rows import Part, one, page_of
from projections.table import Db, Table
from schemas.api.problem import Page
from schemas.api.weights import StoreUsage, WeightsRow
from schemas.job import InstallSpec
from schemas.log import Commit
from schemas.names import weights_id
from schemas.weights import (
    AGGREGATE,
    WeightsCorrupted,
    WeightsDeleted,
    WeightsEvent,
    WeightsFiles,
    WeightsInstalled,
    WeightsReferenced,
    WeightsReleased,
    WeightsReserved,
    WeightsUnreferenced,
    WeightsVerified,
)

set_ = msgspec.structs.replace


def evolve(row: WeightsRow | None, event: WeightsEvent, commit: Commit) -> WeightsRow | None:
    if isinstance(event, WeightsReserved):
        return _reserved(row, event, commit)
    if row is None:
        return None
    match event:
        case WeightsReleased():
            return _released(row)
        case WeightsFiles():
            return row
        case WeightsInstalled():
            return _installed(row, event, commit)
        case WeightsVerified():
            return _judged(set_(row, corrupted=(), verified_at=commit.at))
        case WeightsCorrupted(paths=paths):
            return _judged(set_(row, corrupted=paths))
        case WeightsReferenced(by=by):
            return set_(row, references=tuple(sorted({*row.references, by})))
        case WeightsUnreferenced(by=by):
            return set_(row, references=tuple(sorted({*row.references} - {by})))
        case WeightsDeleted():
            return None
        case _:
            assert_never(event)


def _reserved(row: WeightsRow | None, event: WeightsReserved, commit: Commit) -> WeightsRow:
    """Until a replacement is installed, everything but the status is said of what is there."""
    if row is not None:
        status = "installing" if isinstance(event.spec, InstallSpec) else "deleting"
        return set_(row, status=status, job=event.job)
    coming = WeightsRow(
        namespace=commit.stream.namespace,
        id=commit.stream.id,
        name=event.target,
        status="installing",
        store=event.store,
        position=commit.position,
        updated_at=commit.at,
        key=event.key,
        job=event.job,
    )
    if not isinstance(event.spec, InstallSpec):
        return coming
    return set_(
        coming,
        model=event.spec.repo,
        revision=event.spec.revision,
        commit=event.spec.commit,
        license=event.spec.license,
        files=event.spec.files,
        bytes=event.spec.bytes,
    )


def _released(row: WeightsRow) -> WeightsRow | None:
    if row.installed_at is None:
        return None
    return set_(row, status="corrupted" if row.corrupted else "installed", job="")


def _judged(row: WeightsRow) -> WeightsRow:
    """While a job holds the weights, its doings are the status."""
    return row if row.job else _released(row) or row


def _installed(row: WeightsRow, event: WeightsInstalled, commit: Commit) -> WeightsRow:
    return set_(
        row,
        status="installed",
        store=event.store,
        model=event.repo,
        revision=event.revision,
        commit=event.commit,
        key=event.key,
        manifest=event.manifest,
        license=event.license,
        files=event.files,
        bytes=event.bytes,
        left_out=event.left_out,
        facts=event.facts,
        installed_by=event.job,
        installed_at=commit.at,
        verified_at=None,
        corrupted=(),
    )


fold = PerAggregate(AGGREGATE, evolve)
weights = Table(
    name="weights",
    row=WeightsRow,
    key=("namespace", "id"),
    order=("name", "namespace"),
    changes=fold.changes,
    indexes=(("namespace", "name"),),
    history=True,
)
projection = Projection("weights", (weights,), __file__, WeightsEvent)


class Wanted(msgspec.Struct, frozen=True):
    """Which weights, in whatever namespace. None is all; `unfinished`: also those whose first
    install has not ended."""

    namespace: str | None
    store: str | None = None
    model: str | None = None
    status: str | None = None
    unfinished: bool = False
    names: tuple[str, ...] | None = None


async def page(db: Db, wanted: Wanted, part: Part) -> Page[WeightsRow]:
    """By name. Raises `Rejected` with `invalid_cursor`."""
    if wanted.names == ():
        return Page(())
    return await page_of(
        db,
        weights,
        [
            ("namespace = %s", wanted.namespace),
            ("store = %s", wanted.store),
            ("model = %s", wanted.model),
            ("status = %s", wanted.status),
            ("name = ANY(%s)", list(wanted.names or ())),
            ("(installed_at IS NOT NULL) = %s", None if wanted.unfinished else True),
        ],
        part,
        ascending=True,
    )


async def get(db: Db, namespace: str, name: str, as_of: int | None = None) -> WeightsRow | None:
    """The row of a target, also while its first install is under way."""
    return await one(db, weights, (namespace, weights_id(name)), as_of)


async def below(db: Db, namespace: str, target: str) -> str | None:
    """The first weights whose target begins with this one's name, also those only under way."""
    cursor = await db.execute(
        "SELECT name FROM weights WHERE namespace = %s AND starts_with(name, %s)"
        " ORDER BY name LIMIT 1",
        (namespace, f"{target}/"),
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def usage(db: Db, namespace: str | None) -> tuple[StoreUsage, ...]:
    """What is installed in each store, and in how many targets."""
    cursor = await db.execute(
        "SELECT store, sum(bytes)::bigint, count(*) FROM weights WHERE installed_at IS NOT NULL"
        " AND (%(ns)s::text IS NULL OR namespace = %(ns)s) GROUP BY store ORDER BY store",
        {"ns": namespace},
    )
    return tuple(StoreUsage(*row) for row in await cursor.fetchall())
