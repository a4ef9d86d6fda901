"""How each slot was last seen to be."""

from projections.fold import PerAggregate, Projection
from projections.rows import Condition, Part, one, page_of
from projections.table import Db, Table
from schemas.api.problem import Page
from schemas.api.runtime import StatusRow
from schemas.log import Commit
from schemas.status import AGGREGATE, StatusEvent


def evolve(row: StatusRow | None, event: StatusEvent, commit: Commit) -> StatusRow:
    seen = event.status
    return StatusRow(
        health=seen.health,
        model=seen.model,
        activation=seen.activation,
        message=seen.message,
        url=seen.url,
        replicas=seen.replicas,
        replicas_ready=seen.replicas_ready,
        gpus=seen.gpus,
        pods=seen.pods,
        conditions=seen.conditions,
        namespace=commit.stream.namespace,
        slot=commit.stream.id,
        position=commit.position,
        updated_at=commit.at,
    )


fold = PerAggregate(AGGREGATE, evolve)
statuses = Table(
    name="statuses",
    row=StatusRow,
    key=("namespace", "slot"),
    order=("slot", "namespace"),
    changes=fold.changes,
)
projection = Projection("statuses", (statuses,), __file__, StatusEvent)


async def page(
    db: Db, namespace: str | None, part: Part, *, slot: str | None = None
) -> Page[StatusRow]:
    """By slot. Raises `Rejected` with `invalid_cursor`."""
    wanted: list[Condition] = [("namespace = %s", namespace), ("slot = %s", slot)]
    return await page_of(db, statuses, wanted, part, ascending=True)


async def get(db: Db, namespace: str, slot: str) -> StatusRow | None:
    return await one(db, statuses, (namespace, slot))
