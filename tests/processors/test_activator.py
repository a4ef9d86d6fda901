"""The activator on a log in memory and a world in memory: what the one says, the other becomes."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TypeAlias

import pytest
from ulid import ULID

from schemas.message import Rejected
from schemas.runtime import DeactivateSlot, PromoteCandidate, RollBack, ScaleSlot, Strategy
from schemas.status import StatusUpdated
from tests.processors.stage import SLOT, Stage, running
from tests.processors.world import World
from tests.support import eventually

Bench: TypeAlias = Stage[World]


async def serving(bench: Bench, model: str) -> None:
    """Until this model serves, and stands there alone."""

    async def alone() -> bool:
        await bench.until_current(model)
        return bench.world.models == [model]

    await eventually(alone)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    async with running(tmp_path, World()) as made:
        yield made


async def test_a_model_is_activated_once_it_answers(bench: Bench) -> None:
    await bench.activate("a")
    await bench.until_phase("load")
    assert "model.activation.completed" not in await bench.types()

    bench.world.set("a", "ready")
    await serving(bench, "a")

    assert await bench.phases() == ["prepare", "start", "load", "switch"]
    assert bench.addresses.said[-1] == "http://a"


async def test_blue_green_brings_the_candidate_up_beside_the_current_one(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")
    bench.world.quick = False

    await bench.activate("b", "blue-green")
    await bench.until_phase("load")
    assert bench.world.models == ["a", "b"]
    assert bench.addresses.said[-1] == "http://a"
    bench.world.busy("a", True)
    bench.world.set("b", "ready")
    await bench.until_phase("drain")
    assert bench.world.models == ["a", "b"]
    assert bench.addresses.said[-1] == "http://b"
    bench.world.busy("a", False)

    await serving(bench, "b")
    assert bench.addresses.released == ["a"]


async def test_direct_takes_the_current_one_down_first(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")

    await bench.activate("b")
    await serving(bench, "b")

    assert bench.world.most_at_once == 1
    assert "stop" in await bench.phases()


async def test_preempting_makes_room_before_a_blue_green_switch(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")

    await bench.activate("b", "blue-green", preempt=True)
    await serving(bench, "b")

    assert bench.world.most_at_once == 1


@pytest.mark.parametrize("strategy", ["direct", "blue-green"])
async def test_the_current_one_serves_again_when_the_candidate_fails(
    bench: Bench, strategy: Strategy
) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")
    bench.world.failing["b"] = ("engine_failed", "out of memory")

    await bench.activate("b", strategy)
    await bench.until_said("model.activation.rolledback")

    await serving(bench, "a")
    assert "b" in bench.addresses.released
    assert bench.addresses.said[-1] == "http://a"


async def test_a_candidate_that_does_not_answer_in_time_is_given_up(bench: Bench) -> None:
    await bench.activate("a", seconds=0.5)
    await bench.until_said("model.activation.failed")

    async def gone() -> bool:
        return bench.world.models == [] and bench.addresses.released == ["a"]

    await eventually(gone)


async def test_what_can_not_be_brought_up_at_all_fails_with_its_reason(bench: Bench) -> None:
    bench.world.refusal = Rejected("unknown_engine", "nobody knows the engine of a")
    await bench.activate("a")
    await bench.until_said("model.activation.failed")


async def test_a_candidate_that_is_held_waits_to_be_promoted(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")

    await bench.activate("b", "blue-green", hold=True)
    await bench.until_phase("ready")
    assert bench.addresses.said[-1] == "http://a"
    await bench.say(PromoteCandidate(SLOT, "b", "ann", "a"))

    await serving(bench, "b")


async def test_rolling_back_under_way_leaves_the_current_one(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")
    bench.world.quick = False
    await bench.activate("b", "blue-green")
    await bench.until_phase("load")

    await bench.say(RollBack(SLOT, str(ULID()), "ann"))

    await serving(bench, "a")


async def test_rolling_back_afterwards_brings_the_previous_one_back(bench: Bench) -> None:
    bench.world.quick = True
    for model in ("a", "b"):
        await bench.activate(model)
        await serving(bench, model)

    await bench.say(RollBack(SLOT, str(ULID()), "ann"))

    await serving(bench, "a")


async def test_a_slot_is_taken_down_when_nobody_is_inside_any_more(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")
    bench.world.busy("a", True)

    await bench.say(DeactivateSlot(SLOT, str(ULID()), "ann"))

    async def hidden() -> bool:
        return bench.addresses.said[-1] == ""

    await eventually(hidden)
    assert bench.world.models == ["a"]
    bench.world.busy("a", False)
    await bench.until_said("model.deactivation.completed")
    assert bench.world.models == []
    assert bench.addresses.released == ["a"]


async def test_what_was_scaled_to_nothing_comes_back_by_activating_it_again(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")
    await bench.say(ScaleSlot(SLOT, 0, 1, "ann"))

    again = await bench.activate("a")

    async def back() -> bool:
        state = (await bench.seen()).state
        return state.flight is None and state.current is not None and state.current.id == again

    await eventually(back)
    [there] = bench.world.standing.values()
    assert (there.instance.served.id, there.instance.replicas) == (again, 1)
    assert bench.addresses.said[-1] == "http://a"


async def test_what_died_while_nobody_looked_is_brought_up_again(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")

    bench.world.standing.clear()
    bench.world.stirred.put_nowait(("default", SLOT))

    await serving(bench, "a")


async def test_a_world_that_is_away_is_waited_for(bench: Bench) -> None:
    bench.world.quick = bench.world.away = True
    await bench.activate("a")
    await bench.until_phase("start")

    bench.world.away = False

    await serving(bench, "a")


async def test_a_world_that_stays_away_ends_the_activation_with_its_reason(bench: Bench) -> None:
    bench.world.away = True
    await bench.activate("a", seconds=0.5)
    await bench.until_said("model.activation.failed")


@pytest.mark.parametrize("phase", ["prepare", "start", "load", "switch", "drain", "remove"])
async def test_an_activator_killed_in_any_phase_is_taken_over_from(
    tmp_path: Path, phase: str
) -> None:
    async with running(tmp_path, World()) as bench:
        bench.world.quick = True
        await bench.activate("a")
        await serving(bench, "a")
        await bench.activate("b", "blue-green")
        killed: set[str] = set()
        while phase not in killed and (await bench.seen()).state.flight is not None:
            flight = (await bench.seen()).state.flight
            if flight is not None and flight.phase == phase:
                await bench.kill()
                killed.add(phase)
            await asyncio.sleep(0)
        bench.start()

        await serving(bench, "b")

        types = await bench.types()
        assert types.count("model.activation.completed") == 2
        assert bench.world.begun == ["a", "b"]


async def test_strays_that_no_log_speaks_of_are_removed(tmp_path: Path) -> None:
    async with running(tmp_path, World()) as one:
        one.world.quick = True
        await one.activate("a")
        await serving(one, "a")
        stray = one.world.standing
    async with running(tmp_path, World()) as other:
        other.world.standing.update(stray)
        await other.kill()
        other.start()

        async def gone() -> bool:
            return other.world.models == []

        await eventually(gone)


async def test_changes_in_quick_succession_are_one_status_a_second(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")
    for n in range(200):
        bench.world.set("a", "loading" if n % 2 else "degraded")
        await asyncio.sleep(0.005)
    bench.world.set("a", "ready")

    async def last_is_ready() -> bool:
        history = await bench.history("status")
        [event] = history[-1].events
        return isinstance(event, StatusUpdated) and event.status.health == "ready"

    await eventually(last_is_ready)
    history = await bench.history("status")
    gaps = [b.at - a.at for a, b in itertools.pairwise(history)]
    assert all(gap.total_seconds() > 0.9 for gap in gaps)


async def test_a_status_that_says_so_comes_before_an_activation_is_said_to_be_complete(
    bench: Bench,
) -> None:
    await bench.activate("a")
    await bench.until_phase("load")
    await bench.until_health("loading")
    bench.world.set("a", "ready")

    await bench.until_said("model.activation.completed")

    assert await bench.health_at("model.activation.completed") == "ready"


async def test_a_status_that_says_so_comes_before_a_deactivation_is_said_to_be_complete(
    bench: Bench,
) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await serving(bench, "a")

    await bench.say(DeactivateSlot(SLOT, str(ULID()), "ann"))
    await bench.until_said("model.deactivation.completed")

    assert await bench.health_at("model.deactivation.completed") == "absent"


async def test_a_status_of_very_many_pods_keeps_no_activation_from_completing(bench: Bench) -> None:
    bench.world.pods = 1000
    bench.world.quick = True

    await bench.activate("a")

    await serving(bench, "a")
