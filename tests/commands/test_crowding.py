"""Whoever comes first between any two steps of anyone's requests: no model that is active is
deleted, and who relies on which weights is as the catalog and the slots say."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

from commands.memory import MemoryLog
from commands.references import registered
from schemas.log import AnyEvent, Commit, Head, Stream
from schemas.message import Context, Rejected
from schemas.names import name_id
from schemas.runtime import DeactivateSlot, RollBack, Strategy
from tests.commands.serving import World, manifest, wish

SEEDS = range(60)
CODES = {
    "busy",
    "conflict",
    "fenced",
    "not_found",
    "nothing_to_roll_back",
    "unreferenced_model",
    "weights_not_installed",
}


class Unsteady(MemoryLog):
    """A log before which everyone waits a while, so that anyone may come first."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        await self._wait()
        return await super().load(stream, fresh=fresh)

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        await self._wait()
        return await super().append(stream, at, events, context)

    async def _wait(self) -> None:
        for _ in range(self._chance.choice([0, 0, 1, 3, 9])):
            await asyncio.sleep(0)


async def act(world: World, chance: random.Random, actor: int, told: Counter[str]) -> None:
    """Ask for something, twelve times."""
    for number in range(12):
        asked = chance.choice([*ACTS, "activate", "delete", "back"])
        try:
            await ask(world, chance, asked, f"01J0000000000000000000{actor:02}{number:02}")
            told[asked] += 1
        except Rejected as refusal:
            if refusal.code not in CODES:
                raise


ACTS = ("apply", "delete", "activate", "back", "complete", "fail", "leave", "mend")


async def ask(world: World, chance: random.Random, asked: str, id: str) -> None:
    model, slot = chance.choice(["one", "two"]), chance.choice(["main", "side"])
    state = await world.slot(slot)
    match asked:
        case "apply":
            target = chance.choice(["org/one", "org/two"])
            await world.catalog.apply(manifest(model, target), world.now())
        case "delete":
            await world.catalog.delete(model, world.now())
        case "activate":
            strategy: Strategy = "direct" if chance.random() < 0.5 else "blue-green"
            await world.activations.activate(wish(id, model, strategy, slot=slot), world.now())
        case "back":
            await world.activations.roll_back(RollBack(slot, id, "bob"), world.now())
        case "complete" if state.flight is not None:
            await world.completes(slot)
        case "fail" if state.flight is not None:
            await world.fails(slot)
        case "leave" if state.current is not None:
            await world.says(DeactivateSlot(slot, id, "ada"))
            await world.leaves(slot)
        case "mend":
            await world.mending.all(world.now())
        case _:
            pass


async def is_deleted(world: World, model: str) -> bool:
    return registered(await world.log.load(Stream("default", "model", name_id(model)))) is None


async def test_however_requests_come_between_each_other_no_active_model_is_deleted() -> None:
    told: Counter[str] = Counter()
    for seed in SEEDS:
        chance = random.Random(seed)
        world = World(Unsteady(chance))
        await world.has("one", "two")
        await asyncio.gather(*(act(world, chance, actor, told) for actor in range(4)))
        for _, slot in await world.slots.all():
            state = await world.slot(slot)
            for served in (state.current, state.flight.served if state.flight else None):
                assert served is None or not await is_deleted(world, served.model), seed
        await world.mending.all(world.now())
        await world.check_references()
    assert min(told[asked] for asked in ACTS) > len(SEEDS), told
