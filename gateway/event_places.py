"""Where in the log the events are that a client of the stream wants: the index, if it answers."""

import logging

from gateway.frames import Filter
from gateway.history import Found
from gateway.reading import Reading
from projections import checkpoints, event_index
from projections.rows import Part
from schemas.message import Rejected

logger = logging.getLogger(__name__)


class EventPlaces:
    """An `Index` of the read models. Without them the stream goes on, and reads more of the log."""

    def __init__(self, models: Reading) -> None:
        self._models = models

    async def after(self, filter: Filter, position: int, limit: int) -> Found | None:
        wanted = wanted_of(filter, after=position)
        try:
            async with self._models.connection() as db:
                known = await checkpoints.read(db, event_index.projection.name)
                page = await event_index.page(db, wanted, Part(limit), ascending=True)
        except Rejected as error:
            logger.info("the stream does without the index: %s", error)
            return None
        horizon = known.position if known else 0
        if page.next_cursor is not None:
            horizon = min(horizon, page.items[-1].position)
        positions = sorted({row.position for row in page.items})
        return Found([p for p in positions if p <= horizon], horizon)

    async def before(self, filter: Filter, position: int, limit: int) -> Found | None:
        wanted = wanted_of(filter, before=position + 1)
        try:
            async with self._models.connection() as db:
                known = await checkpoints.read(db, event_index.projection.name)
                page = await event_index.page(db, wanted, Part(limit))
        except Rejected as error:
            logger.info("the stream does without the index: %s", error)
            return None
        if known is None or known.position < position:
            return None
        horizon = page.items[-1].position - 1 if page.next_cursor is not None else 0
        return Found(sorted({row.position for row in page.items}), horizon)


def wanted_of(
    filter: Filter, after: int | None = None, before: int | None = None
) -> event_index.Wanted:
    """The same filter, as the index understands it."""
    return event_index.Wanted(
        namespace=filter.namespace,
        types=[*filter.types, *(f"{family}*" for family in filter.families)],
        aggregate=filter.aggregate or None,
        id=filter.id or None,
        after=after,
        before=before,
        system=filter.system,
    )
