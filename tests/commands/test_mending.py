"""Whatever a crash leaves between two steps of a request is put right by whoever looks next."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec
import pytest

from commands.memory import MemoryLog
from commands.mending import Mending
from schemas.log import Outcome
from schemas.message import Command, Context
from schemas.model import RegisterModel
from schemas.runtime import DeactivateSlot, RollBack
from schemas.weights import ReferenceWeights, UnreferenceWeights
from tests.commands.serving import A1, A2, A3, S, World, manifest, wish
from tests.contract.logs import context

ONE, TWO = "org/one", "org/two"

Ask: TypeAlias = Callable[[World], Awaitable[object]]


class Crash(BaseException):
    """The process is gone, and with it whatever it would have caught."""


def crashing(world: World, after: int) -> World:
    """The same log, for somebody who is gone after so many appends."""
    left = after

    async def dispatch(command: Command, context: Context) -> Outcome:
        nonlocal left
        if left == 0:
            raise Crash
        outcome = await world.dispatch(command, context)
        left -= outcome.commit is not None
        return outcome

    return World(world.log, dispatch)


async def apply(world: World) -> None:
    await world.catalog.apply(manifest("one", TWO), context("asked"))


async def delete(world: World) -> None:
    await world.catalog.delete("two", context("asked"))


async def activate(world: World) -> None:
    await world.activations.activate(wish(A2, "two"), context("asked"))


async def go_back(world: World) -> None:
    await world.activations.roll_back(RollBack(S, A3, "ada"), context("asked"))


async def complete(world: World) -> None:
    await world.completes()


async def fail(world: World) -> None:
    await world.fails()


async def leave(world: World) -> None:
    await world.says(DeactivateSlot(S, A3, "ada"))
    await world.leaves()


@pytest.fixture(params=[apply, delete, activate, go_back, complete, fail, leave])
def ask(request: pytest.FixtureRequest) -> Ask:
    asked: Ask = request.param
    return asked


async def prepared(ask: Ask) -> World:
    """One serves, and did so before two where that matters; an activation is under way."""
    world = World(MemoryLog())
    await world.has("one", "two")
    await world.serves(A1, "one")
    if ask is go_back:
        await world.serves(A2, "two")
    elif ask in (complete, fail):
        await world.activate(A2, "two", "blue-green")
    return world


async def test_after_a_crash_at_any_moment_who_relies_on_what_is_put_right(ask: Ask) -> None:
    crashes = 0
    for after in range(9):
        world = await prepared(ask)
        try:
            await ask(crashing(world, after))
        except Crash:
            crashes += 1
        await world.mending.all(world.now())
        await world.check_references()
    assert 0 < crashes < 9


async def test_models_rely_on_weights_that_come_after_them(serving: World) -> None:
    await serving.catalog.apply(manifest("one"), context("c1"))
    await serving.catalog.apply(manifest("two", ONE), context("c2"))
    await serving.install(ONE)
    await serving.mending.target(ONE, serving.now())
    assert await serving.users(ONE) == {"model/one", "model/two"}


async def test_who_does_not_need_weights_any_more_lets_go_of_them(serving: World) -> None:
    await serving.has("one")
    await serving.says(ReferenceWeights(ONE, "slot/main/one"))
    await serving.says(ReferenceWeights(ONE, "model/gone"))
    await serving.says(ReferenceWeights(ONE, "slot/main/gone"))
    await serving.says(ReferenceWeights(ONE, "somebody else"))
    await serving.mending.target(ONE, serving.now())
    assert await serving.users(ONE) == {"model/one", "somebody else"}


async def test_who_needs_weights_relies_on_them_again(serving: World) -> None:
    await serving.has("one")
    await serving.serves(A1, "one")
    for user in ("slot/main/one", "model/one"):
        await serving.says(UnreferenceWeights(ONE, user))
    await serving.mending.slot(S, serving.now())
    assert await serving.users(ONE) == {"model/one", "slot/main/one"}


async def test_what_serves_without_its_model_goes_on_serving(serving: World) -> None:
    await serving.has("one")
    await serving.serves(A1, "one")
    await serving.says(UnreferenceWeights(ONE, "slot/main/one"))
    await serving.catalog.delete("one", context("c1"))
    before = await serving.slot()
    await serving.mending.all(serving.now())
    assert await serving.slot() == before


async def test_every_namespace_is_looked_after(serving: World) -> None:
    await serving.install(ONE)
    elsewhere = msgspec.structs.replace(serving.now(), namespace="elsewhere")
    await serving.dispatch(RegisterModel(manifest("one")), elsewhere)
    await serving.mending.target(ONE, serving.now())
    await serving.mending.all(serving.now())
    assert await serving.users(ONE) == set()
    await serving.says(RegisterModel(manifest("one")))
    await serving.mending.all(serving.now())
    assert await serving.users(ONE) == {"model/one"}


class Listings:
    """A directory that remembers what was listed."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.listed: list[str] = []

    async def ids(self, aggregate: str) -> Sequence[tuple[str, str]]:
        self.listed.append(aggregate)
        return await self._log.ids(aggregate)


async def test_models_are_listed_once_in_however_many_namespaces_they_are() -> None:
    log = MemoryLog()
    world, listings = World(log), Listings(log)
    for number in range(3):
        there = msgspec.structs.replace(world.now(), namespace=f"n{number}")
        await world.dispatch(RegisterModel(manifest("one")), there)
    await Mending(log, world.dispatch, listings).all(world.now())
    assert sorted(listings.listed) == ["model", "runtime", "weights"]


async def test_nothing_is_said_where_all_is_as_it_should_be(serving: World) -> None:
    await serving.has("one", "two")
    await serving.serves(A1, "one")
    await serving.serves(A2, "two")
    end = await serving.log.end()
    await serving.mending.all(serving.now())
    assert await serving.log.end() == end
