"""Models as the log has them now, for routes that must not wait for a read model."""

from collections.abc import Sequence

from projections import aliases, models
from schemas import alias, model
from schemas.api.models import ModelRow
from schemas.log import Commit, EventLog, Stream
from schemas.message import Rejected
from schemas.names import name_id


class Registry:
    """Every method raises `LogUnavailable`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def find(self, namespace: str, name: str) -> ModelRow | None:
        """The model of that id; else the one that is meant by that alias."""
        found = models.fold.row_of(await self.history(namespace, name))
        if found is not None:
            return found
        stream = Stream(namespace, alias.AGGREGATE, name_id(name))
        meant = aliases.fold.row_of(await self._log.load(stream))
        if meant is None:
            return None
        return models.fold.row_of(await self.history(namespace, meant.model))

    async def get(self, namespace: str, name: str) -> ModelRow:
        """The same. Raises `Rejected` with `not_found`."""
        return known(await self.find(namespace, name), name)

    async def history(self, namespace: str, name: str) -> Sequence[Commit]:
        """What became of the model of that id; nothing if there never was one."""
        return await self._log.load(Stream(namespace, model.AGGREGATE, name_id(name)))


def known(row: ModelRow | None, name: str) -> ModelRow:
    """Raises `Rejected` with `not_found`."""
    if row is None:
        raise Rejected("not_found", f"there is no model {name}, nor an alias of that name")
    return row
