"""Who relies on which weights: kept to what the catalog and the slots say.

A reference is taken before what needs it, and dropped after what needed it is gone, so a crash in
between leaves one too many. Whoever changes one looks again, since somebody may have come to need
it, or ceased to, meanwhile. Everything here looks at things as they are, and may be asked any time.
"""

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from commands import model as models
from commands import weights
from commands.flights import relies_on
from commands.looking import seen_slot, slot_history
from commands.steps import anew
from commands.weights import Weights
from schemas.log import Commit, Dispatch, EventLog, Outcome, Stream
from schemas.message import Context, Rejected
from schemas.model import ModelRegistered, ModelUpdated, Registered
from schemas.names import name_id, weights_id
from schemas.runtime import FailActivation, SeenSlot
from schemas.weights import ReferenceWeights, UnreferenceWeights
from schemas.weights_users import slot_user, user_of_model, user_of_slot

ATTEMPTS = 4


class Use(NamedTuple):
    """Weights, as a model in a slot needs them. `gone` names the one of whom nothing is left."""

    model: str
    target: str
    gone: str = ""


class References:
    """Every method raises `LogUnavailable`, and `Rejected` with `busy` or `newer_log`."""

    def __init__(self, log: EventLog, dispatch: Dispatch) -> None:
        self._log = log
        self._dispatch = dispatch

    async def owner(self, namespace: str, target: str) -> Weights:
        """Who says what may be done to a target."""
        stream = Stream(namespace, weights.decider.aggregate, weights_id(target))
        return weights.decider.state(await self._log.load(stream, fresh=True))

    async def model(self, namespace: str, model: str) -> tuple[Commit, ...]:
        """A model's history."""
        stream = Stream(namespace, models.decider.aggregate, name_id(model))
        return tuple(await self._log.load(stream, fresh=True))

    async def slot(self, namespace: str, slot: str) -> SeenSlot:
        return seen_slot(namespace, await slot_history(self._log, namespace, slot))

    async def take(self, target: str, by: str, context: Context) -> Outcome:
        """Raises `Rejected` as the weights do, too: `not_found`, `conflict` …"""
        return await self._dispatch(ReferenceWeights(target, by), anew(context, "reference"))

    async def drop(self, target: str, by: str, context: Context) -> Outcome:
        """Raises `Rejected` with `conflict` when a slot relies on the model that lets go, too."""
        return await self._dispatch(UnreferenceWeights(target, by), anew(context, "unreference"))

    async def take_for_slot(self, slot: str, use: Use, context: Context) -> None:
        """Let the slot rely on the weights, and the model as well, should it not do so yet.

        Raises `Rejected` as the weights do, too, and `not_found` for a model that was deleted.
        """
        by = user_of_slot(slot, use.model)
        try:
            await self.take(use.target, by, context)
        except Rejected as refusal:
            if refusal.code != "unreferenced_model":
                raise
            if registered(await self.model(context.namespace, use.model)) is None:
                raise model_gone(use.model) from refusal
            await self.take(use.target, user_of_model(use.model), context)
            await self.take(use.target, by, context)

    async def match_model(self, model: str, target: str, context: Context) -> None:
        """Let the model rely on the target if its manifest says so, or while a slot relies on it
        through the model; and else not."""
        by = user_of_model(model)
        for _ in range(ATTEMPTS):
            known = registered(await self.model(context.namespace, model))
            owner = await self.owner(context.namespace, target)
            wanted = known is not None and known.manifest.weights.name == target
            served = any(slot_user(user).model == model for user in owner.references)
            change = None
            if by in owner.references and not wanted and not served:
                change = self.drop
            elif by not in owner.references and wanted and owner.installed is not None:
                change = self.take
            if change is None or not await allowed(change(target, by, context)):
                return
        raise Rejected("busy", f"who relies on {target} kept changing")

    async def match_slot(self, slot: str, use: Use, context: Context) -> None:
        """Let the slot rely on the weights if it needs them for that model; and else not.

        An activation whose model, or whose weights, went away before the switch fails.
        """
        by = user_of_slot(slot, use.model)
        for _ in range(ATTEMPTS):
            seen = await self.slot(context.namespace, slot)
            owner = await self.owner(context.namespace, use.target)
            wanted = relies_on(seen.state, use.model, use.target, gone=use.gone)
            held = by in owner.references
            if wanted and comes(seen, use) and await self._is_gone(use.model, context):
                await self._fail(seen, "model_deleted", str(model_gone(use.model)), context)
            elif wanted == held:
                return
            elif held:
                await self.drop(use.target, by, context)
            else:
                try:
                    await self.take_for_slot(slot, use, context)
                except Rejected as refusal:
                    if not comes(seen, use):
                        return  # who serves goes on serving
                    await self._fail(seen, refusal.code, str(refusal), context)
        raise Rejected("busy", f"who relies on {use.target} kept changing")

    async def _is_gone(self, model: str, context: Context) -> bool:
        return registered(await self.model(context.namespace, model)) is None

    async def _fail(self, seen: SeenSlot, code: str, why: str, context: Context) -> None:
        flight = seen.state.flight
        assert flight is not None
        ms = elapsed(seen, context.at)
        command = FailActivation(seen.state.slot, flight.served.id, code, why, ms, flight.phase)
        with suppress(Rejected):  # it is over, or got on: look again
            await self._dispatch(command, anew(context, "fail"))


def registered(history: Sequence[Commit]) -> Registered | None:
    """The model that a history leads to, at the position of its manifest; None when it is none."""
    manifest = models.decider.state(history).manifest
    if manifest is None:
        return None
    said = (c.position for c in reversed(history) if _tells_manifest(c))
    return Registered(manifest, next(said))


def _tells_manifest(commit: Commit) -> bool:
    return any(isinstance(event, ModelRegistered | ModelUpdated) for event in commit.events)


def model_gone(model: str) -> Rejected:
    return Rejected("not_found", f"model {model} is not in the catalog any more")


def comes(seen: SeenSlot, use: Use) -> bool:
    """Whether an activation is under way that is about this use, and may still be given up without
    anyone noticing."""
    flight = seen.state.flight
    if flight is None or flight.before is not None:
        return False
    return (flight.served.model, flight.served.target) == (use.model, use.target)


def elapsed(seen: SeenSlot, at: datetime) -> int:
    """Milliseconds that the activation under way has taken by then; 0 when there is none."""
    since = seen.requested_at
    return max(0, int((at - since).total_seconds() * 1000)) if since is not None else 0


async def allowed(change: Awaitable[Outcome]) -> bool:
    """Whether the owner of the weights let it be."""
    try:
        await change
    except Rejected as refusal:
        if refusal.code not in ("conflict", "not_found"):
            raise
        return False
    return True
