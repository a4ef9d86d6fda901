"""Requests raced on a real log: one wins, the other is told by whom, and who lost has no effect."""

import asyncio
import time
from collections.abc import Awaitable

import pytest

from commands.jetstream import JetStreamLog
from commands.references import registered
from schemas.log import Outcome, Stream
from schemas.message import Rejected
from schemas.names import name_id
from tests.commands.serving import World

RACES = 50


@pytest.fixture
def world(jetstream_log: JetStreamLog) -> World:
    return World(jetstream_log)


def ids(race: int) -> list[str]:
    return [f"01J00000000000000000{race:04}0{n}" for n in (1, 2)]


async def test_of_two_activations_of_a_slot_one_wins_and_the_other_hears_of_it(
    world: World,
) -> None:
    await world.has("one", "two")
    winners: set[str] = set()
    took = 0.01
    for race in range(RACES):
        slot, asked = f"slot{race}", dict(zip(ids(race), ("one", "two"), strict=True))
        delays = [0.0, 0.0]
        if race % 5 == 4:  # each has to be the first at times, however busy the machine is
            delays[race // 5 % 2] = took
        since = time.monotonic()
        answers = await asyncio.gather(
            *(
                behind(delay, world.activate(id, model, slot=slot))
                for delay, (id, model) in zip(delays, asked.items(), strict=True)
            ),
            return_exceptions=True,
        )
        took = time.monotonic() - since
        [granted] = [answer for answer in answers if isinstance(answer, Outcome)]
        [refusal] = [answer for answer in answers if isinstance(answer, Rejected)]
        flight = (await world.slot(slot)).flight
        assert flight is not None
        winner = flight.served
        assert granted.commit is not None
        assert asked[winner.id] == winner.model
        assert refusal.code == "conflict"
        assert refusal.details == {
            "activation": winner.id,
            "model": winner.model,
            "by": "ada",
            "strategy": "direct",
            "phase": "requested",
            "remedy": f"mllm rollout status {slot}; or end it:"
            f" mllm runtime rollback {slot} --activation {winner.id}",
        }
        winners.add(winner.model)
        user = f"slot/{slot}/{winner.model}"
        loser = {"one": "two", "two": "one"}[winner.model]
        assert user in await world.users(f"org/{winner.model}")
        assert f"slot/{slot}/{loser}" not in await world.users(f"org/{loser}")
    assert winners == {"one", "two"}, "the race is fixed"


async def test_of_two_activations_of_one_model_both_are_about_the_same(world: World) -> None:
    await world.has("one")
    for race in range(20):
        slot = f"slot{race}"
        answers = await asyncio.gather(
            *(world.activate(id, "one", slot=slot) for id in ids(race)), return_exceptions=True
        )
        granted = [answer for answer in answers if isinstance(answer, Outcome)]
        assert len([outcome for outcome in granted if outcome.commit is not None]) == 1
        assert len(granted) == 2
        assert f"slot/{slot}/one" in await world.users("org/one")


async def test_a_model_that_is_deleted_while_it_is_activated_is_never_active_and_deleted(
    world: World,
) -> None:
    ends: set[tuple[bool, bool]] = set()
    took = 0.01
    for race in range(RACES):
        name = f"model{race}"
        await world.has(name)
        [id, _] = ids(race)
        since = time.monotonic()
        answers = await asyncio.gather(
            world.activate(id, name, slot=name),
            behind(took * (race % 8) / 6, world.catalog.delete(name, world.now())),
            return_exceptions=True,
        )
        took = time.monotonic() - since
        assert all(isinstance(answer, Outcome | Rejected) for answer in answers)
        active = (await world.slot(name)).flight is not None
        history = await world.log.load(Stream("default", "model", name_id(name)))
        deleted = registered(history) is None
        assert not (active and deleted)
        assert (f"slot/{name}/{name}" in await world.users(f"org/{name}")) == active
        ends.add((active, deleted))
    assert ends >= {(True, False), (False, True)}, "the race is fixed"


async def behind(seconds: float, request: Awaitable[Outcome]) -> Outcome:
    """A request that starts a little later, so that either may come first at any step."""
    await asyncio.sleep(seconds)
    return await request
