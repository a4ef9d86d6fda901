"""A log with weights, models and slots on it, and what workers and the activator say there."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from itertools import product

import msgspec
import pytest

from commands import weights
from commands.activating import Activations
from commands.cataloging import Catalog
from commands.dispatch import Dispatcher
from commands.finding import Finder
from commands.flights import relies_on
from commands.jetstream import JetStreamLog
from commands.looking import SlotsOnLog
from commands.memory import MemoryLog
from commands.mending import Mending
from commands.references import registered
from commands.weights import Weights
from schemas.job import DeleteSpec, InstallSpec
from schemas.log import Dispatch, Outcome, Stream
from schemas.manifest import Manifest, WeightsSource
from schemas.message import Command, Context, Rejected
from schemas.names import name_id, weights_id
from schemas.runtime import (
    CompleteActivation,
    CompleteDeactivation,
    EnterPhase,
    FailActivation,
    Flight,
    Phase,
    SeenSlot,
    Served,
    SlotState,
    StartActivation,
    Strategy,
    Wish,
)
from schemas.weights import RecordDeleted, RecordInstalled, ReleaseWeights, ReserveWeights
from schemas.weights_users import user_of_model, user_of_slot
from tests.contract.logs import context
from tests.support import PATIENCE

S = "main"
A1, A2, A3, A4 = (f"01J0000000000000000000000{n}" for n in (1, 2, 3, 4))
J1, J2 = "01J000000000000000000000J1", "01J000000000000000000000J2"


def manifest(
    model: str, target: str = "", *, aliases: tuple[str, ...] = (), description: str = ""
) -> Manifest:
    source = WeightsSource(target or f"org/{model}")
    return Manifest(model, source, aliases=aliases, description=description)


def wish(
    id: str,
    model: str,
    strategy: Strategy = "direct",
    *,
    slot: str = S,
    preempt: bool = False,
    hold: bool = False,
) -> Wish:
    return Wish(id, model, slot, "ada", strategy, preempt, hold)


@contextmanager
def refused(code: str, **details: object) -> Generator[None]:
    """What is asked inside is refused with that code, and these facts among others."""
    with pytest.raises(Rejected) as caught:
        yield
    assert caught.value.code == code
    assert {name: caught.value.details.get(name) for name in details} == details


def interrupted(world: "World", before: Callable[[Command], Awaitable[None]]) -> Dispatch:
    """Carries out commands, each after something else may have happened."""

    async def dispatch(command: Command, context: Context) -> Outcome:
        await before(command)
        return await world.dispatch(command, context)

    return dispatch


class World:
    """`dispatch`, unless said, is what carries out everything that is asked here."""

    def __init__(self, log: MemoryLog | JetStreamLog, dispatch: Dispatch | None = None) -> None:
        self.log = log
        self.dispatch = dispatch or Dispatcher(log, PATIENCE)
        self.catalog = Catalog(log, self.dispatch, log)
        self.finder = Finder(log)
        self.activations = Activations(log, self.dispatch)
        self.mending = Mending(log, self.dispatch, log)
        self.slots = SlotsOnLog(log, log)
        self._said = 0

    async def says(self, command: Command) -> Outcome:
        return await self.dispatch(command, self.now())

    def now(self) -> Context:
        """What surrounds a command that nobody has given before."""
        self._said += 1
        return context(f"said/{self._said}")

    async def install(self, target: str, *, key: str = "k1", overwrite: bool = False) -> None:
        spec = InstallSpec(target, "main", "c0ffee", key, 1, 1, overwrite=overwrite)
        await self.says(ReserveWeights(target, J1, key, "s1", 1, spec))
        await self.says(RecordInstalled(target, J1, key, 1, 1, 1, ()))

    async def deleting(self, target: str) -> str:
        """The job that is about to delete it. Raises `Rejected` when somebody relies on it."""
        await self.says(ReserveWeights(target, J2, "delete", "s1", 1, DeleteSpec()))
        return J2

    async def remove(self, target: str) -> None:
        """Raises `Rejected` when somebody relies on it."""
        await self.deleting(target)
        await self.says(RecordDeleted(target, J2))
        await self.says(ReleaseWeights(target, J2, 0))

    async def has(self, *models: str) -> None:
        """Models with weights of their own."""
        for model in models:
            await self.install(f"org/{model}")
            await self.catalog.apply(manifest(model), self.now())

    async def weights(self, target: str) -> Weights:
        stream = Stream("default", "weights", weights_id(target))
        return weights.decider.state(await self.log.load(stream, fresh=True))

    async def users(self, target: str) -> set[str]:
        return set((await self.weights(target)).references)

    async def slot(self, slot: str = S) -> SlotState:
        return (await self.seen(slot)).state

    async def seen(self, slot: str = S) -> SeenSlot:
        return await self.slots("default", slot)

    async def activate(
        self, id: str, model: str, strategy: Strategy = "direct", *, slot: str = S
    ) -> Outcome:
        return await self.activations.activate(wish(id, model, strategy, slot=slot), self.now())

    async def enters(self, *phases: Phase, slot: str = S) -> None:
        flight = await self._flight(slot)
        for phase in phases:
            await self.says(EnterPhase(slot, flight.served.id, phase, 1))

    async def completes(self, slot: str = S) -> None:
        """All of an activation, as the activator does it."""
        id = (await self._flight(slot)).served.id
        await self.says(StartActivation(slot, id, "w1"))
        await self.enters("start", "load", "switch", "remove", slot=slot)
        for gone in (await self.slot(slot)).leaving:
            await self.releases(gone, slot=slot)
        await self.says(CompleteActivation(slot, id, 9))

    async def serves(
        self, id: str, model: str, strategy: Strategy = "direct", *, slot: str = S
    ) -> None:
        await self.activate(id, model, strategy, slot=slot)
        await self.completes(slot)

    async def fails(self, slot: str = S) -> None:
        flight = await self._flight(slot)
        served = flight.served
        await self.says(FailActivation(slot, served.id, "crashed", "gone", 9, flight.phase))
        await self.releases(served, slot=slot)

    async def leaves(self, slot: str = S) -> None:
        """The end of a deactivation, as the activator does it."""
        state = await self.slot(slot)
        if state.deactivation is None or state.current is None:
            raise Rejected("fenced", f"nothing leaves {slot}")
        await self.releases(state.current, slot=slot)
        await self.says(CompleteDeactivation(slot, state.deactivation.id))

    async def releases(self, served: Served, *, slot: str = S) -> None:
        said = msgspec.structs.replace(self.now(), namespace="elsewhere")
        await self.activations.release("default", slot, served, said)

    async def types(self, after: int = 0) -> list[str]:
        """Everything that has happened since, in order."""
        commits = await self.log.fetch(range(after + 1, await self.log.end() + 1))
        return [kind for commit in commits for kind in commit.types]

    async def check_references(self) -> None:
        """Whoever needs weights that are there relies on them, and nobody else does."""
        targets, models = ("org/one", "org/two"), ("one", "two")
        needed: set[tuple[str, str]] = set()
        for _, slot in await self.slots.all():
            state = await self.slot(slot)
            for target, model in product(targets, models):
                if relies_on(state, model, target):
                    needed.add((target, user_of_slot(slot, model)))
                    needed.add((target, user_of_model(model)))
        for model in models:
            known = registered(await self.log.load(Stream("default", "model", name_id(model))))
            target = known.manifest.weights.name if known is not None else ""
            if target and (await self.weights(target)).installed is not None:
                needed.add((target, user_of_model(model)))
        assert {(t, user) for t in targets for user in await self.users(t)} == needed

    async def _flight(self, slot: str) -> Flight:
        flight = (await self.slot(slot)).flight
        if flight is None:
            raise Rejected("fenced", f"nothing is under way in {slot}")
        return flight
