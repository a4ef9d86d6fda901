"""The catalog: the requests about models that take several aggregates.

A model's weights are asked first: relying on them begins before its manifest is registered, and
ends before it is deleted, which is where a model that is active somewhere is refused.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from commands import alias as aliases
from commands import model as models
from commands.decider import granted
from commands.dispatch import Dispatcher
from commands.finding import Finder
from commands.imagining import ImaginedLog
from commands.looking import Directory
from commands.references import References, Use, registered
from commands.steps import anew, step
from schemas.alias import SetAlias
from schemas.catalog import ModelChange
from schemas.log import Commit, Dispatch, EventLog, Outcome
from schemas.manifest import Manifest
from schemas.message import Context, Rejected
from schemas.model import (
    DeleteModel,
    ModelRegistered,
    ModelUpdated,
    RegisterModel,
)
from schemas.weights_users import slot_user, user_of_model

OTHER = "choose another name"


class Catalog:
    """Every method is idempotent by its context's command id, and raises `LogUnavailable` and
    `Rejected`. `directory` knows which aliases there are."""

    def __init__(self, log: EventLog, dispatch: Dispatch, directory: Directory) -> None:
        self._log = log
        self._dispatch = dispatch
        self._directory = directory
        self._finder = Finder(log)
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
        renamed = [
            await self._dispatch(command, step(context, f"alias-{command.alias}"))
            for command in _renamings(manifest, outcome)
        ]
        await self._forget(manifest.id, _aliases(manifest), context)
        for target in _targets(outcome.history):
            await self._references.match_model(manifest.id, target, context)
        return _change(outcome, renamed)

    async def foresee(self, manifest: Manifest, context: Context) -> ModelChange:
        """What `apply` would make of it, and nothing of that: its commits have no position.

        Raises `Rejected` as that does.
        """
        log = ImaginedLog(self._log)
        return await Catalog(log, Dispatcher(log), self._directory).apply(manifest, context)

    async def delete(self, model: str, context: Context) -> Outcome:
        """Take a model away, and every alias that means it.

        Raises `Rejected`: `not_found`; `conflict` while the model is active, with the slots.
        """
        history = await self._references.model(context.namespace, model)
        done = granted(history, context)
        outcome = Outcome(history, done) if done else await self._delete(model, history, context)
        await self._forget(model, await self._names(model, context), context)
        return outcome

    async def _delete(self, model: str, history: Sequence[Commit], context: Context) -> Outcome:
        if registered(history) is None:
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
        return outcome

    async def alias(self, alias: str, model: str | None, context: Context) -> Outcome:
        """Let an alias mean a model, or nothing. The outcome's history is the alias's.

        Raises `Rejected`: `not_found` for what is not there; `conflict` for a model's own id.
        """
        if model is not None:
            await self._refuse_own_name(alias, context)
            if await self._finder.model(context.namespace, model) is None:
                raise Rejected("not_found", f"no model {model}")
        outcome = await self._dispatch(SetAlias(alias, model), context)
        if model is not None:
            await self._forget(model, [alias], context)
        return outcome

    async def _names(self, model: str, context: Context) -> Sequence[str]:
        """Every alias that means a model."""
        ids = await self._directory.ids(aliases.decider.aggregate)
        ours = [id for namespace, id in ids if namespace == context.namespace]
        found = [await self._finder.alias(context.namespace, id) for id in ours]
        return [alias.name for alias in found if alias.model == model]

    async def _forget(self, model: str, names: Collection[str], context: Context) -> None:
        """Let aliases of a model that is gone mean nothing: whoever deletes it looks for them after
        that, and whoever names one looks for the model after that, so one of them finds it."""
        if names and await self._finder.model(context.namespace, model) is None:
            for name in names:
                forget = SetAlias(name, None, before=model)
                await self._dispatch(forget, anew(context, f"alias-{name}"))

    async def _refuse_names(self, manifest: Manifest, context: Context) -> None:
        """A name means one thing: a model, or an alias of one."""
        for alias in _aliases(manifest):
            await self._refuse_own_name(alias, context)
        if await self._finder.model(context.namespace, manifest.id) is None:
            meant = await self._finder.meaning(context.namespace, manifest.id)
            if meant and await self._finder.model(context.namespace, meant) is not None:
                raise Rejected(
                    "conflict", f"{manifest.id} is an alias of {meant}", model=meant, remedy=OTHER
                )

    async def _refuse_own_name(self, alias: str, context: Context) -> None:
        if await self._finder.model(context.namespace, alias) is not None:
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

    async def _match(self, model: str, relied: Iterable[str], context: Context) -> None:
        """Let the weights know what has become of a model, and slots that were about to have it."""
        for target in relied:
            owner = await self._references.owner(context.namespace, target)
            for user in map(slot_user, owner.references):
                if user.model == model:
                    await self._references.match_slot(user.slot, Use(model, target), context)
            await self._references.match_model(model, target, context)


def _change(outcome: Outcome, renamed: Sequence[Outcome]) -> ModelChange:
    types = outcome.commit.types if outcome.commit is not None else ()
    created = ModelRegistered.__struct_config__.tag in types
    news = [one for one in (outcome, *renamed) if one.commit is not None]
    position = max(one.position for one in (outcome, *news))
    return ModelChange(outcome, created, bool(news), position)


def _aliases(manifest: Manifest | None) -> frozenset[str]:
    return frozenset(manifest.aliases) - {manifest.id} if manifest is not None else frozenset()


def _renamings(manifest: Manifest, outcome: Outcome) -> Iterator[SetAlias]:
    """What makes the manifest's aliases mean it, and those nothing that only the one before had."""
    now = _aliases(manifest)
    for alias in sorted(now):
        yield SetAlias(alias, manifest.id)
    if outcome.commit is not None:
        earlier = outcome.history[: outcome.history.index(outcome.commit)]
        for alias in sorted(_aliases(models.decider.state(earlier).manifest) - now):
            yield SetAlias(alias, None, before=manifest.id)


def _targets(history: Sequence[Commit]) -> Sequence[str]:
    """Every target that the model ever was about: a slot may serve it as it was then."""
    events = (event for commit in history for event in commit.events)
    said = (e for e in events if isinstance(e, ModelRegistered | ModelUpdated))
    return tuple(dict.fromkeys(event.manifest.weights.name for event in said))
