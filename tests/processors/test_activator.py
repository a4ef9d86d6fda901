"""The activator on a log in memory and a world in memory: what the one says, the other becomes."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ulid import ULID

from commands.dispatch import Dispatcher
from commands.looking import SlotsOnLog
from commands.memory import MemoryLog
from processors.activator import Activator
from processors.keeper import Keeper
from processors.lease import FileLease
from processors.voice import Voice
from schemas.live import Endpoint
from schemas.log import Stream
from schemas.manifest import Manifest, WeightsSource
from schemas.message import Command, Context, Rejected
from schemas.runtime import (
    ActivateModel,
    ActivationPhase,
    DeactivateSlot,
    PromoteCandidate,
    RollBack,
    SeenSlot,
    Served,
    Strategy,
)
from schemas.status import StatusUpdated
from tests.processors.world import World
from tests.support import eventually

SLOT = "active-llm"


class Addresses:
    """`Endpoints`, and `References`, that remember what they were told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.released: list[str] = []

    async def say_endpoint(self, endpoint: Endpoint) -> None:
        self.said.append(endpoint.url)

    async def release(self, namespace: str, slot: str, served: Served, context: Context) -> object:
        self.released.append(served.model)
        return None


class Bench:
    """A log, a world and an activator between them, which can be killed and started again."""

    def __init__(self, place: Path) -> None:
        self.log = MemoryLog()
        self.dispatch = Dispatcher(self.log)
        self.slots = SlotsOnLog(self.log, self.log)
        self.world = World()
        self.addresses = Addresses()
        self._lease = place / "lease"
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        def keeper() -> Keeper:
            voice = Voice(self.dispatch, self.addresses, self.addresses)
            return Keeper(self.slots, self.world, voice, "w1")

        lease = FileLease(self._lease)
        activator = Activator(self.log, self.slots, self.world, lease, keeper)
        self._running = asyncio.create_task(activator.run())

    async def kill(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
            self._running = None

    async def say(self, command: Command) -> None:
        context = Context(command=str(ULID()), at=datetime.now(UTC), actor="ann")
        await self.dispatch(command, context)

    async def activate(
        self, model: str, strategy: Strategy = "direct", *, preempt: bool = False,
        hold: bool = False, seconds: float = 20.0,
    ) -> str:  # fmt: skip
        manifest = Manifest(id=model, weights=WeightsSource(target=model))
        id = str(ULID())
        await self.say(
            ActivateModel(
                SLOT, id, model, 1, manifest, model, "default", strategy, "ann",
                preempt=preempt, hold=hold, timeout=seconds,
            )
        )  # fmt: skip
        return id

    async def seen(self) -> SeenSlot:
        return await self.slots("default", SLOT)

    async def types(self) -> Sequence[str]:
        history = await self.log.load(Stream("default", "runtime", SLOT))
        return [kind for commit in history for kind in commit.types]

    async def phases(self) -> Sequence[str]:
        history = await self.log.load(Stream("default", "runtime", SLOT))
        events = [event for commit in history for event in commit.events]
        return [event.phase for event in events if isinstance(event, ActivationPhase)]

    async def until_serving(self, model: str) -> None:
        async def serving() -> bool:
            state = (await self.seen()).state
            current = state.current.model if state.current else ""
            return (current, state.flight, self.world.models) == (model, None, [model])

        await eventually(serving)

    async def until_phase(self, phase: str) -> None:
        async def there() -> bool:
            flight = (await self.seen()).state.flight
            return flight is not None and flight.phase == phase

        await eventually(there)

    async def until_said(self, kind: str) -> None:
        async def said() -> bool:
            return kind in await self.types()

        await eventually(said)


@asynccontextmanager
async def opened(place: Path) -> AsyncGenerator[Bench]:
    bench = Bench(place)
    bench.start()
    try:
        yield bench
    finally:
        await bench.kill()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    async with opened(tmp_path) as made:
        yield made


async def test_a_model_is_activated_once_it_answers(bench: Bench) -> None:
    await bench.activate("a")
    await bench.until_phase("load")
    assert "model.activation.completed" not in await bench.types()

    bench.world.set("a", "ready")
    await bench.until_serving("a")

    assert await bench.phases() == ["prepare", "start", "load", "switch"]
    assert bench.addresses.said[-1] == "http://a"


async def test_blue_green_brings_the_candidate_up_beside_the_current_one(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_serving("a")
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

    await bench.until_serving("b")
    assert bench.addresses.released == ["a"]


async def test_direct_takes_the_current_one_down_first(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_serving("a")

    await bench.activate("b")
    await bench.until_serving("b")

    assert bench.world.most_at_once == 1
    assert "stop" in await bench.phases()


async def test_preempting_makes_room_before_a_blue_green_switch(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_serving("a")

    await bench.activate("b", "blue-green", preempt=True)
    await bench.until_serving("b")

    assert bench.world.most_at_once == 1


@pytest.mark.parametrize("strategy", ["direct", "blue-green"])
async def test_the_current_one_serves_again_when_the_candidate_fails(
    bench: Bench, strategy: Strategy
) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_serving("a")
    bench.world.failing["b"] = ("engine_failed", "out of memory")

    await bench.activate("b", strategy)
    await bench.until_said("model.activation.rolledback")

    await bench.until_serving("a")
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
    await bench.until_serving("a")

    await bench.activate("b", "blue-green", hold=True)
    await bench.until_phase("ready")
    assert bench.addresses.said[-1] == "http://a"
    await bench.say(PromoteCandidate(SLOT, "b", "ann", "a"))

    await bench.until_serving("b")


async def test_rolling_back_under_way_leaves_the_current_one(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_serving("a")
    bench.world.quick = False
    await bench.activate("b", "blue-green")
    await bench.until_phase("load")

    await bench.say(RollBack(SLOT, str(ULID()), "ann"))

    await bench.until_serving("a")


async def test_rolling_back_afterwards_brings_the_previous_one_back(bench: Bench) -> None:
    bench.world.quick = True
    for model in ("a", "b"):
        await bench.activate(model)
        await bench.until_serving(model)

    await bench.say(RollBack(SLOT, str(ULID()), "ann"))

    await bench.until_serving("a")


async def test_a_slot_is_taken_down_when_nobody_is_inside_any_more(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_serving("a")
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


async def test_what_died_while_nobody_looked_is_brought_up_again(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_serving("a")

    bench.world.standing.clear()
    bench.world.stirred.put_nowait(("default", SLOT))

    await bench.until_serving("a")


async def test_a_world_that_is_away_is_waited_for(bench: Bench) -> None:
    bench.world.quick = bench.world.away = True
    await bench.activate("a")
    await bench.until_phase("start")

    bench.world.away = False

    await bench.until_serving("a")


async def test_a_world_that_stays_away_ends_the_activation_with_its_reason(bench: Bench) -> None:
    bench.world.away = True
    await bench.activate("a", seconds=0.5)
    await bench.until_said("model.activation.failed")


@pytest.mark.parametrize("phase", ["prepare", "start", "load", "switch", "drain", "remove"])
async def test_an_activator_killed_in_any_phase_is_taken_over_from(
    tmp_path: Path, phase: str
) -> None:
    async with opened(tmp_path) as bench:
        bench.world.quick = True
        await bench.activate("a")
        await bench.until_serving("a")
        await bench.activate("b", "blue-green")
        killed: set[str] = set()
        while phase not in killed and (await bench.seen()).state.flight is not None:
            flight = (await bench.seen()).state.flight
            if flight is not None and flight.phase == phase:
                await bench.kill()
                killed.add(phase)
            await asyncio.sleep(0)
        bench.start()

        await bench.until_serving("b")

        types = await bench.types()
        assert types.count("model.activation.completed") == 2
        assert bench.world.begun == ["a", "b"]


async def test_strays_that_no_log_speaks_of_are_removed(tmp_path: Path) -> None:
    async with opened(tmp_path) as one:
        one.world.quick = True
        await one.activate("a")
        await one.until_serving("a")
        stray = one.world.standing
    async with opened(tmp_path) as other:
        other.world.standing.update(stray)
        await other.kill()
        other.start()

        async def gone() -> bool:
            return other.world.models == []

        await eventually(gone)


async def test_changes_in_quick_succession_are_one_status_a_second(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_serving("a")
    for n in range(200):
        bench.world.set("a", "loading" if n % 2 else "degraded")
        await asyncio.sleep(0.005)
    bench.world.set("a", "ready")

    async def last_is_ready() -> bool:
        history = await bench.log.load(Stream("default", "status", SLOT))
        [event] = history[-1].events
        return isinstance(event, StatusUpdated) and event.status.health == "ready"

    await eventually(last_is_ready)
    history = await bench.log.load(Stream("default", "status", SLOT))
    gaps = [b.at - a.at for a, b in itertools.pairwise(history)]
    assert all(gap.total_seconds() > 0.9 for gap in gaps)
