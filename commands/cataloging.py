"""The catalog: the requests about models that take several aggregates.

A model's weights are asked first: relying on them begins before its manifest is registered, and
ends before it is deleted, which is where a model that is active somewhere is refused.
"""

from collections.abc import Iterable, Mapping, Sequence

from commands import alias as aliases
from commands import model as models
from commands.decider import granted
from commands.references import References, Use, registered
from commands.steps import step
from schemas.alias import SetAlias
from schemas.catalog import ModelChange
from schemas.log import Commit, Dispatch, EventLog, Outcome, Stream
from schemas.manifest import Manifest
from schemas.message import Context, Rejected
from schemas.model import (
    DeleteModel,
    ModelRegistered,
    ModelUpdated,
    Registered,
    RegisterModel,
)
from schemas.names import name_id
from schemas.weights_users import slot_user, user_of_model

OTHER = "choose another name"


class Catalog:
    """Every method is idempotent by its context's command id, and raises `LogUnavailable` and
    `Rejected`."""

    def __init__(self, log: EventLog, dispatch: Dispatch) -> None:
        self._log = log
        self._dispatch = dispatch
        self._references = References(log, dispatch)

    async def apply(self, manifest: Manifest, context: Context) -> ModelChange:
        """Make this the model's manifest, and its aliases mean it.

        Raises `Rejected`: `conflict` while its weights are being deleted, or when one of its
        aliases is another model's id; `too_large`.
        """
        await self._refuse_names(manifest, context)
        await self._rely(manifest, context)
        try:
            outcome = await self._dispatch(RegisterModel(manifest), context)
        except Rejected:
            await self._references.match_model(manifest.id, manifest.weights.name, context)
            raise
        position = outcome.position
        for alias, to in _renamings(manifest, outcome).items():
            position = max(position, await self._rename(alias, manifest.id, to, context))
        for target in _targets(outcome.history):
            await self._references.match_model(manifest.id, target, context)
        return _change(outcome, position)

    async def delete(self, model: str, context: Context) -> Outcome:
        """Raises `Rejected`: `not_found`; `conflict` while the model is active, with the slots."""
        history = await self._references.model(context.namespace, model)
        if done := granted(history, context):
            return Outcome(history, done)
        known = registered(history)
        if known is None:
            raise Rejected("not_found", f"no model {model}")
        relied = _targets(history)
        try:
            for target in relied:
                await self._references.drop(target, user_of_model(model), context)
            outcome = await self._dispatch(DeleteModel(model), context)
        except Rejected:
            await self._match(model, relied, context)
            raise
        await self._match(model, relied, context)
        for alias in _aliases(known.manifest):
            await self._rename(alias, model, None, context)
        return outcome

    async def alias(self, alias: str, model: str | None, context: Context) -> Outcome:
        """Let an alias mean a model, or nothing. The outcome's history is the alias's.

        Raises `Rejected`: `not_found` for what is not there; `conflict` for a model's own id.
        """
        if model is not None:
            await self._refuse_own_name(alias, context)
            if registered(await self._references.model(context.namespace, model)) is None:
                raise Rejected("not_found", f"no model {model}")
        return await self._dispatch(SetAlias(alias, model), context)

    async def find(self, namespace: str, name: str) -> Registered:
        """The model with that id, or that the alias means. Raises `Rejected` with `not_found`."""
        if known := registered(await self._references.model(namespace, name)):
            return known
        meant = await self._meaning(namespace, name)
        if not meant:
            raise Rejected("not_found", f"no model {name}")
        if known := registered(await self._references.model(namespace, meant)):
            return known
        raise Rejected("not_found", f"{name} means {meant}, which is not in the catalog any more")

    async def _refuse_names(self, manifest: Manifest, context: Context) -> None:
        """A name means one thing: a model, or an alias of one."""
        for alias in _aliases(manifest):
            await self._refuse_own_name(alias, context)
        if registered(await self._references.model(context.namespace, manifest.id)) is None:
            meant = await self._meaning(context.namespace, manifest.id)
            if meant:
                raise Rejected(
                    "conflict", f"{manifest.id} is an alias of {meant}", model=meant, remedy=OTHER
                )

    async def _refuse_own_name(self, alias: str, context: Context) -> None:
        if registered(await self._references.model(context.namespace, alias)) is not None:
            raise Rejected("conflict", f"{alias} is a model's own id", model=alias, remedy=OTHER)

    async def _rely(self, manifest: Manifest, context: Context) -> None:
        """Rely on the weights if they are there; if not, that begins once they are."""
        target, by = manifest.weights.name, user_of_model(manifest.id)
        owner = await self._references.owner(context.namespace, target)
        if owner.installed is None or by in owner.references:
            return
        try:
            await self._references.take(target, by, context)
        except Rejected as refusal:
            if refusal.code != "not_found":
                raise

    async def _rename(self, alias: str, model: str, to: str | None, context: Context) -> int:
        """Let an alias mean the model, or, if it does, nothing. The position reached."""
        if to is None and await self._meaning(context.namespace, alias) != model:
            return 0
        try:
            outcome = await self._dispatch(SetAlias(alias, to), step(context, f"alias-{alias}"))
        except Rejected as refusal:
            if refusal.code != "not_found":  # it means nothing already
                raise
            return 0
        return outcome.position

    async def _meaning(self, namespace: str, alias: str) -> str:
        """The model that an alias means; empty when that is nothing."""
        stream = Stream(namespace, aliases.decider.aggregate, name_id(alias))
        return aliases.decider.state(await self._log.load(stream, fresh=True)).model

    async def _match(self, model: str, relied: Iterable[str], context: Context) -> None:
        """Let the weights know what has become of a model, and slots that were about to have it."""
        for target in relied:
            owner = await self._references.owner(context.namespace, target)
            for user in map(slot_user, owner.references):
                if user.model == model:
                    await self._references.match_slot(user.slot, Use(model, target), context)
            await self._references.match_model(model, target, context)


def _change(outcome: Outcome, position: int) -> ModelChange:
    types = outcome.commit.types if outcome.commit is not None else ()
    created = ModelRegistered.__struct_config__.tag in types
    return ModelChange(outcome, created, outcome.commit is not None, position)


def _aliases(manifest: Manifest | None) -> frozenset[str]:
    return frozenset(manifest.aliases) - {manifest.id} if manifest is not None else frozenset()


def _renamings(manifest: Manifest, outcome: Outcome) -> Mapping[str, str | None]:
    """What the manifest's aliases are to mean, and those that only the one before it had."""
    renamings: dict[str, str | None] = dict.fromkeys(_aliases(manifest), manifest.id)
    if outcome.commit is not None:
        earlier = outcome.history[: outcome.history.index(outcome.commit)]
        before = _aliases(models.decider.state(earlier).manifest)
        renamings |= dict.fromkeys(before - renamings.keys())
    return renamings


def _targets(history: Sequence[Commit]) -> Sequence[str]:
    """Every target that the model ever was about: a slot may serve it as it was then."""
    events = (event for commit in history for event in commit.events)
    said = (e for e in events if isinstance(e, ModelRegistered | ModelUpdated))
    return tuple(dict.fromkeys(event.manifest.weights.name for event in said))
