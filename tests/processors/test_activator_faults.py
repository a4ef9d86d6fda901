"""The activator where something goes wrong between two steps: on a log and in a world in memory."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest
from ulid import ULID

from commands.memory import MemoryLog
from processors import keeper
from schemas.log import Commit, LogUnavailable, Stream
from schemas.runtime import EnterPhase, Phase, PromoteCandidate, RollBack, StartActivation
from tests.processors.stage import SLOT, Stage, running
from tests.processors.world import World
from tests.support import PATIENCE, eventually

Bench: TypeAlias = Stage[World]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    async with running(tmp_path, World()) as made:
        yield made


async def left_in(
    bench: Bench, phase: Phase, *, hold: bool = False, seconds: float = 600.0
) -> None:
    """An activation of `b` that an activator began, and died in that phase of."""
    await bench.kill()
    id = await bench.activate("b", "blue-green", hold=hold, seconds=seconds)
    await bench.say(StartActivation(SLOT, id, "w0"))
    waits: tuple[Phase, ...] = ("ready",) if hold else ()
    begun: Phase
    for begun in ("prepare", "start", "load", *waits, "switch", "drain", "remove"):
        await bench.say(EnterPhase(SLOT, id, begun, 0))
        if begun == phase:
            return


@pytest.mark.parametrize("phase", ["switch", "remove"])
async def test_what_ceased_to_answer_after_the_switch_is_not_said_to_be_activated(
    bench: Bench, phase: Phase
) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_current("a")
    bench.world.quick = False
    await left_in(bench, phase)
    bench.start()

    await eventually(lambda: _stands(bench, "b"))
    await asyncio.sleep(1.2)
    assert (await bench.types()).count("model.activation.completed") == 1

    bench.world.set("b", "ready")
    await bench.until_current("b")
    assert (await bench.types()).count("model.activation.completed") == 2


@pytest.mark.parametrize("phase", ["switch", "drain", "remove"])
async def test_what_never_answers_after_the_switch_makes_way_for_the_one_before(
    bench: Bench, phase: Phase
) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_current("a")
    bench.world.silent.add("b")
    await left_in(bench, phase, seconds=0.5)
    bench.start()

    await bench.until_said("model.activation.rolledback")

    await bench.until_current("a")
    await eventually(lambda: _stands(bench, "a"))


async def _stands(bench: Bench, model: str) -> bool:
    return model in bench.world.models


async def test_an_activation_ends_though_the_clock_was_set_back_meanwhile(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_current("a")

    await bench.activate("b", "blue-green", at=datetime.now(UTC) + timedelta(hours=1))

    await bench.until_current("b")


async def test_what_is_promoted_and_answers_no_more_makes_way(bench: Bench) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_current("a")
    bench.world.silent.add("b")
    await left_in(bench, "ready", hold=True, seconds=0.5)
    bench.start()
    await bench.say(PromoteCandidate(SLOT, "b", "ann"))

    await bench.until_said("model.activation.rolledback")


@pytest.mark.parametrize("by", ["the same activator", "another"])
async def test_requests_that_a_candidate_got_are_answered_though_the_slot_goes_back(
    bench: Bench, by: str
) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_current("a")
    bench.world.quick = False
    await bench.activate("b", "blue-green")
    await bench.until_phase("load")
    bench.world.busy("a", True)
    bench.world.busy("b", True)
    bench.world.set("b", "ready")
    await bench.until_phase("drain")
    if by == "another":
        await bench.kill()
    await bench.say(RollBack(SLOT, str(ULID()), "ann"))
    if by == "another":
        bench.start()
    await bench.until_current("a")

    await eventually(lambda: _said_last(bench, "http://a"))
    await asyncio.sleep(1.5)
    assert bench.world.models == ["a", "b"]

    bench.world.busy("b", False)
    await eventually(lambda: _stands_alone(bench, "a"))


async def test_who_was_stopped_for_a_candidate_comes_back_once_that_one_is_gone(
    bench: Bench,
) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_current("a")
    bench.world.silent.add("b")
    await bench.activate("b")
    await bench.until_phase("load")
    bench.world.most_at_once = 0

    await bench.say(RollBack(SLOT, str(ULID()), "ann"))
    await bench.until_current("a")

    await eventually(lambda: _said_last(bench, "http://a"))
    assert bench.world.models == ["a"]
    assert bench.world.most_at_once == 1


class Swallowing(MemoryLog):
    """Takes a cancellation that comes while it is read for an answer, as `wait_for` may."""

    swallows = False
    reading = False

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        if self.swallows:
            self.reading = True
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return await super().load(stream, fresh=fresh)


async def test_a_cancellation_that_gets_lost_in_a_wait_ends_the_activator_all_the_same(
    tmp_path: Path,
) -> None:
    log = Swallowing()
    async with running(tmp_path, World(), log=log) as bench:
        await bench.activate("a")
        await bench.until_phase("load")
        log.swallows = True
        await eventually(lambda: _reads(log))

        async with asyncio.timeout(PATIENCE):
            await bench.kill()


async def _reads(log: Swallowing) -> bool:
    return log.reading


async def _said_last(bench: Bench, url: str) -> bool:
    return bench.addresses.said[-1] == url


async def _stands_alone(bench: Bench, model: str) -> bool:
    return bench.world.models == [model]


class ForgetfulLog(MemoryLog):
    """Does not say where it ends for the first few times; can be read unless it is `away`."""

    refusals = 2
    away = False
    loads = 0

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        self.loads += 1
        if self.away:
            raise LogUnavailable("it can not be read")
        return await super().load(stream, fresh=fresh)

    async def end(self) -> int:
        self.refusals -= 1
        if self.refusals >= 0:
            raise LogUnavailable("it can not be read")
        return await super().end()


async def test_a_log_that_is_away_at_first_is_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, World(quick=True), log=ForgetfulLog()) as bench:
        await bench.activate("a")
        await bench.until_current("a")


async def test_what_serves_is_looked_after_though_the_log_is_away(tmp_path: Path) -> None:
    async with running(tmp_path, World(quick=True), log=(log := ForgetfulLog())) as bench:
        await bench.activate("a")
        await bench.until_current("a")
        await eventually(lambda: _loads_no_more(log))
        log.away = True
        bench.world.standing.clear()
        bench.world.stirred.put_nowait(("default", SLOT))

        await eventually(lambda: _stands(bench, "a"))


async def test_a_slot_in_which_nothing_happens_is_not_read_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOG_SECONDS", 600.0)  # after which it would be, once
    monkeypatch.setattr(keeper, "STRAYS_SECONDS", 600.0)
    async with running(tmp_path, World(quick=True), log=(log := ForgetfulLog())) as bench:
        await bench.activate("a")
        await bench.until_current("a")
        await eventually(lambda: _loads_no_more(log))
        before = log.loads
        for _ in range(20):
            bench.world.stirred.put_nowait(("default", SLOT))
            await asyncio.sleep(0.02)
        assert log.loads == before


async def _loads_no_more(log: ForgetfulLog) -> bool:
    before = log.loads
    await asyncio.sleep(0.5)
    return log.loads == before


async def test_what_others_change_again_and_again_is_said_now_and_then(tmp_path: Path) -> None:
    async with running(tmp_path, World(quick=True), correct=True) as bench:
        await bench.activate("a")
        await bench.until_current("a")
        bench.world.drift = ("spec.replicas",)
        for _ in range(30):
            bench.world.stirred.put_nowait(("default", SLOT))
            await asyncio.sleep(0.05)

        await bench.until_said("runtime.drift.detected")
        assert (await bench.types()).count("runtime.drift.detected") == 1


async def test_what_others_changed_is_only_said_while_a_candidate_comes_up_beside_it(
    bench: Bench,
) -> None:
    bench.world.quick = True
    await bench.activate("a")
    await bench.until_current("a")
    bench.world.quick, bench.world.corrected = False, set()

    await bench.activate("b", "blue-green")
    await bench.until_phase("load")
    await asyncio.sleep(0.5)

    assert bench.world.corrected == {"b"}
