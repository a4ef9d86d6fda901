"""Activating: the requests about slots that take several aggregates.

A slot relies on a model's weights before the model is activated there, and lets go after it left.
"""

from collections.abc import Sequence

import msgspec

from commands import runtime, status
from commands.decider import granted
from commands.finding import Finder
from commands.looking import seen_slot, slot_history
from commands.references import References, Use, elapsed, model_gone, registered
from commands.weights import Installed, refuse_corrupted
from schemas.checks import Inspector
from schemas.log import Dispatch, EventLog, Outcome, Stream
from schemas.manifest import Manifest
from schemas.message import Context, Rejected
from schemas.model import Registered
from schemas.remedies import install, too_few_gpus
from schemas.runtime import (
    ActivateModel,
    DeactivateSlot,
    PromoteCandidate,
    RollBack,
    ScaleSlot,
    Served,
    SlotState,
    Wish,
)


class Activations:
    """Every method is idempotent by its context's command id. The outcome's history is the slot's.

    Every method raises `LogUnavailable` and `Rejected`. `inspector`: asked before anything is
    activated.
    """

    def __init__(
        self, log: EventLog, dispatch: Dispatch, inspector: Inspector | None = None
    ) -> None:
        self._log = log
        self._dispatch = dispatch
        self._inspector = inspector
        self._finder = Finder(log)
        self._references = References(log, dispatch)

    async def activate(self, wish: Wish, context: Context) -> Outcome:
        """Let a model serve. Nothing happens when it does already, or is about to; one that is
        scaled to nothing, or was last seen to be gone or to have failed, does not.

        Raises `Rejected`: `not_found`, `weights_not_installed`, `weights_corrupted`,
        `invalid_model`, `no_capacity`; `conflict`, with who activates or deactivates what.
        """
        history = await slot_history(self._log, context.namespace, wish.slot)
        if done := granted(history, context):
            return Outcome(history, done)
        known = await self._finder.find(context.namespace, wish.model)
        slot = runtime.decider.state(history)
        installed = await self._installed(known.manifest, context)
        gone = await self._is_gone(slot.current, wish.slot, context)
        command = _activation(wish, known, installed, anew=gone)
        if not runtime.decider.decide(slot, command):
            return Outcome(history, None)
        if wish.preempt and await self._fits_beside(known.manifest, context):
            wish = msgspec.structs.replace(wish, preempt=False)
            command = msgspec.structs.replace(command, preempt=False)
        await self._inspect(known.manifest, wish, context)
        return await self._activate(command, context)

    async def _is_gone(self, current: Served | None, slot: str, context: Context) -> bool:
        """Whether who serves in the slot was last seen to be gone, or to have failed."""
        if current is None:
            return False
        last = await self._log.last(Stream(context.namespace, status.decider.aggregate, slot))
        seen = status.decider.state([last] if last is not None else [])
        return seen.activation == current.id and seen.health in ("absent", "failed")

    async def _fits_beside(self, manifest: Manifest, context: Context) -> bool:
        """Whether nobody needs to make room for it."""
        if self._inspector is None:
            return False
        capacity = await self._inspector.capacity(manifest, context.namespace, slot="")
        return capacity.wanted <= capacity.free

    async def _activate(self, command: ActivateModel, context: Context) -> Outcome:
        use = Use(command.model, command.target)
        try:
            await self._references.take_for_slot(command.slot, use, context)
            await self._refuse_gone(command.model, context)
            outcome = await self._dispatch(command, context)
        except Rejected:
            await self._references.match_slot(command.slot, use, context)
            raise
        await self._references.match_slot(command.slot, use, context)
        await self._refuse_gone(command.model, context)  # then it has failed by now
        return outcome

    async def roll_back(self, command: RollBack, context: Context) -> Outcome:
        """End the activation under way, or go back to what served before: whichever it is now.

        Raises `Rejected`: `nothing_to_roll_back`, `conflict`; `not_found`, `weights_not_installed`
        or `weights_corrupted` when what served before can not serve any more.
        """
        history = await slot_history(self._log, context.namespace, command.slot)
        if done := granted(history, context):
            return Outcome(history, done)
        seen = seen_slot(context.namespace, history)
        runtime.decider.decide(seen.state, command)
        under_way = seen.state.flight.served.id if seen.state.flight is not None else ""
        command = msgspec.structs.replace(command, ends=under_way, ms=elapsed(seen, context.at))
        comes_back = _comes_back(seen.state)
        uses = [Use(served.model, served.target) for served in comes_back]
        try:
            for served in comes_back:
                await self._refuse_moved(served, context)
            for use in uses:
                await self._references.take_for_slot(command.slot, use, context)
            outcome = await self._dispatch(command, context)
        finally:
            for use in uses:
                await self._references.match_slot(command.slot, use, context)
        return outcome

    async def deactivate(self, command: DeactivateSlot, context: Context) -> Outcome:
        """Raises `Rejected`: `not_found`, or `conflict` with the activation under way."""
        return await self._dispatch(command, context)

    async def promote(self, command: PromoteCandidate, context: Context) -> Outcome:
        """Raises `Rejected`: `not_found`, `not_ready`, `conflict`."""
        return await self._dispatch(command, context)

    async def scale(self, command: ScaleSlot, context: Context) -> Outcome:
        """Raises `Rejected`: `not_found`, `invalid`."""
        return await self._dispatch(command, context)

    async def release(self, namespace: str, slot: str, served: Served, context: Context) -> None:
        """Nothing of this instance is left: let go of its weights, unless the slot needs them for
        another, or may have to bring this one back."""
        there = msgspec.structs.replace(context, namespace=namespace)
        use = Use(served.model, served.target, gone=served.id)
        await self._references.match_slot(slot, use, there)
        await self._references.match_model(served.model, served.target, there)

    async def _installed(self, manifest: Manifest, context: Context) -> Installed:
        target = manifest.weights.name
        owner = await self._references.owner(context.namespace, target)
        if owner.installed is None:
            raise Rejected(
                "weights_not_installed",
                f"{manifest.id} needs the weights {target}, which are not installed",
                target=target,
                remedy=install(manifest.weights),
            )
        refuse_corrupted(owner.installed, target)
        return owner.installed

    async def _refuse_moved(self, served: Served, context: Context) -> None:
        """What served before went with its weights as they were kept then."""
        installed = await self._installed(served.manifest, context)
        if installed.store != served.store:
            raise Rejected(
                "conflict",
                f"the weights of {served.model} are in store {installed.store} by now;"
                " activate it instead",
            )

    async def _refuse_gone(self, model: str, context: Context) -> None:
        if registered(await self._references.model(context.namespace, model)) is None:
            raise model_gone(model)

    async def _inspect(self, manifest: Manifest, wish: Wish, context: Context) -> None:
        """What serves in the slot now makes room, unless the candidate comes up beside it."""
        if self._inspector is None:
            return
        room = wish.slot if wish.preempt or wish.strategy == "direct" else ""
        capacity = await self._inspector.capacity(manifest, context.namespace, slot=room)
        if capacity.wanted > capacity.free:
            makes_room = not room and await self._makes_room(manifest, wish, context)
            raise too_few_gpus(manifest.id, capacity, wish.slot if makes_room else "")
        checks = await self._inspector.check(manifest, context.namespace, slot=room)
        failed = [check for check in checks if check.outcome == "fail"]
        if failed:
            reasons = "; ".join(check.reason for check in failed)
            raise Rejected(
                "invalid_model",
                f"{manifest.id} can not serve: {reasons}",
                checks=msgspec.to_builtins(checks),
                remedy=failed[0].remedy,
            )

    async def _makes_room(self, manifest: Manifest, wish: Wish, context: Context) -> bool:
        """Whether taking down who serves in the slot now is enough."""
        assert self._inspector is not None
        alone = await self._inspector.capacity(manifest, context.namespace, slot=wish.slot)
        return alone.wanted <= alone.free


def _activation(
    wish: Wish, known: Registered, installed: Installed, *, anew: bool
) -> ActivateModel:
    return ActivateModel(
        slot=wish.slot,
        activation=wish.activation,
        model=known.manifest.id,
        version=known.version,
        manifest=known.manifest,
        target=known.manifest.weights.name,
        store=installed.store,
        strategy=wish.strategy,
        by=wish.by,
        preempt=wish.preempt,
        hold=wish.hold,
        timeout=wish.timeout,
        anew=anew,
    )


def _comes_back(slot: SlotState) -> Sequence[Served]:
    """Who is to serve after rolling back that would not without."""
    if slot.flight is None:
        back = slot.previous
    else:
        back = slot.flight.before.current if slot.flight.before is not None else None
    return [back] if back is not None else []
