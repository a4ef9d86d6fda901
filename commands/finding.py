"""Which model a name means, as the log has it now."""

from commands import alias as aliases
from commands import model as models
from commands.references import registered
from schemas.log import EventLog, Stream
from schemas.message import Rejected
from schemas.model import Registered
from schemas.names import name_id


class Finder:
    """Every method raises `LogUnavailable`, and `Rejected` with `newer_log`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def find(self, namespace: str, name: str) -> Registered:
        """The model with that id, or that the alias means. Raises `Rejected` with `not_found`."""
        if known := await self.model(namespace, name):
            return known
        meant = await self.meaning(namespace, name)
        if not meant:
            raise Rejected("not_found", f"no model {name}")
        if known := await self.model(namespace, meant):
            return known
        raise Rejected("not_found", f"{name} means {meant}, which is not in the catalog any more")

    async def model(self, namespace: str, id: str) -> Registered | None:
        """The model with that id."""
        stream = Stream(namespace, models.decider.aggregate, name_id(id))
        return registered(await self._log.load(stream, fresh=True))

    async def meaning(self, namespace: str, alias: str) -> str:
        """The model that an alias means, whether that is there or not; empty when it is nothing."""
        return (await self.alias(namespace, name_id(alias))).model

    async def alias(self, namespace: str, id: str) -> aliases.Alias:
        """An alias by its aggregate's id."""
        stream = Stream(namespace, aliases.decider.aggregate, id)
        last = await self._log.last(stream, fresh=True)
        return aliases.decider.state([last] if last is not None else [])
