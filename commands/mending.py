"""Putting right who relies on which weights, whatever a crash has left between two steps.

For a processor that looks from time to time, and when weights have come: models may have been
registered before their weights were there.
"""

from collections.abc import Sequence

import msgspec

from commands import model as models
from commands import runtime, weights
from commands.looking import Directory
from commands.references import References, Use, registered
from schemas.log import Commit, Dispatch, EventLog, Stream
from schemas.manifest import Manifest
from schemas.message import Context
from schemas.names import weights_id
from schemas.runtime import SeenSlot
from schemas.weights import WeightsReferenced
from schemas.weights_users import slot_user, user_of_model


class Mending:
    """Every method may be asked at any time, by anyone, and changes only what is not as it should
    be. Raises `LogUnavailable`, and `Rejected` with `busy` or `newer_log`."""

    def __init__(self, log: EventLog, dispatch: Dispatch, directory: Directory) -> None:
        self._log = log
        self._directory = directory
        self._references = References(log, dispatch)

    async def target(self, target: str, context: Context) -> None:
        """Let those rely on a target who need it: the models about it, and slots."""
        await self._match_users(target, weights_id(target), context)
        for namespace, id in await self._directory.ids(models.decider.aggregate):
            if namespace != context.namespace:
                continue
            manifest = await self._manifest(namespace, id)
            if manifest is not None and manifest.weights.name == target:
                await self._references.match_model(manifest.id, target, context)

    async def slot(self, slot: str, context: Context) -> None:
        """Let a slot rely on what it needs, and not on what it once did."""
        for use in _uses(await self._references.slot(context.namespace, slot)):
            await self._references.match_slot(slot, use, context)

    async def all(self, context: Context) -> None:
        """The same for everything there is, in all namespaces."""
        for namespace, id in await self._directory.ids(weights.decider.aggregate):
            there = msgspec.structs.replace(context, namespace=namespace)
            if target := await self._name(namespace, id):
                await self._match_users(target, id, there)
        for namespace, slot in await self._directory.ids(runtime.decider.aggregate):
            await self.slot(slot, msgspec.structs.replace(context, namespace=namespace))
        for namespace, id in await self._directory.ids(models.decider.aggregate):
            there = msgspec.structs.replace(context, namespace=namespace)
            if manifest := await self._manifest(namespace, id):
                await self._references.match_model(manifest.id, manifest.weights.name, there)

    async def _match_users(self, target: str, id: str, context: Context) -> None:
        history = await self._load(context.namespace, weights.decider.aggregate, id)
        users = sorted(weights.decider.state(history).references)
        for slot, model in map(slot_user, users):
            if slot:
                await self._references.match_slot(slot, Use(model, target), context)
        for user in users:
            model = user.partition("/")[2]
            if user == user_of_model(model):
                await self._references.match_model(model, target, context)

    async def _manifest(self, namespace: str, id: str) -> Manifest | None:
        known = registered(await self._load(namespace, models.decider.aggregate, id))
        return known.manifest if known is not None else None

    async def _name(self, namespace: str, id: str) -> str:
        """The target of a weights aggregate that somebody has relied on; empty of any other."""
        history = await self._load(namespace, weights.decider.aggregate, id)
        events = (event for commit in history for event in commit.events)
        return next((e.target for e in events if isinstance(e, WeightsReferenced)), "")

    async def _load(self, namespace: str, aggregate: str, id: str) -> Sequence[Commit]:
        return await self._log.load(Stream(namespace, aggregate, id), fresh=True)


def _uses(seen: SeenSlot) -> Sequence[Use]:
    """What the slot needs, or may have needed."""
    state = seen.state
    before = state.flight.before if state.flight is not None else None
    there = [
        state.current,
        state.flight.served if state.flight is not None else None,
        before.current if before is not None else None,
        state.previous,
        *state.leaving,
    ]
    uses = [Use(served.model, served.target) for served in there if served is not None]
    return tuple(dict.fromkeys(uses))
