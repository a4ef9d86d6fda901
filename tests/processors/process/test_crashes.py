"""Whoever is killed, whenever: one server for each model that is wanted, and no more."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from processors.process import holding
from tests.processors.process.rig import Machine, instance, living, machine, present
from tests.support import eventually

ROUNDS = pytest.mark.parametrize(
    "rounds", [3, pytest.param(20, marks=pytest.mark.chaos)], ids=["few", "many"]
)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncGenerator[Machine]:
    async with machine(tmp_path) as made:
        yield made


async def killed(root: Path, verb: str, after: float) -> None:
    """Let a supervisor do something, and kill it some time after it began."""
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.processors.process.supervise", str(root), verb,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert supervisor.stdout is not None
    assert await supervisor.stdout.readline() == b"begin\n"
    await asyncio.sleep(after)
    supervisor.kill()
    await supervisor.wait()


def holders(here: Machine) -> list[int]:
    return [process.pid for process in living(here.processes())]


@ROUNDS
async def test_a_supervisor_killed_while_it_starts_a_server_leaves_one_at_most(
    here: Machine, tmp_path: Path, rounds: int
) -> None:
    wanted = instance()
    chance = random.Random(1)
    for _ in range(rounds):
        await killed(tmp_path, "ensure", chance.uniform(0, 0.12))
        after = here.another()

        sight = await here.serves(wanted, after)

        async def alone() -> bool:  # one that came too late may take a moment to give up
            return holders(here) == [here.server().pid]

        await eventually(alone)
        assert sight.url.endswith(f":{here.server().port}")
        await here.removed(wanted, after)


@ROUNDS
async def test_a_supervisor_killed_while_it_watches_is_followed_by_one_that_adopts(
    here: Machine, tmp_path: Path, rounds: int
) -> None:
    wanted = instance()
    await here.serves(wanted)
    before = here.server()
    for _ in range(rounds):
        await killed(tmp_path, "ensure", random.uniform(0, 0.3))

        assert here.server() == before
    assert (await here.serves(wanted, here.another())).url.endswith(f":{before.port}")
    assert holders(here) == [before.pid]


@ROUNDS
async def test_a_supervisor_killed_while_it_removes_is_followed_by_one_that_finishes(
    here: Machine, tmp_path: Path, rounds: int
) -> None:
    wanted = instance(env={"FAKE_WORKERS": "1"})
    chance = random.Random(2)
    for _ in range(rounds):
        await here.serves(wanted, here.another())
        await killed(tmp_path, "remove", chance.uniform(0, 0.1))
        after = here.another()

        await here.removed(wanted, after)

        assert holders(here) == []
        assert present(wanted) not in await after.present()


@ROUNDS
async def test_a_server_killed_at_any_moment_is_replaced_by_one(here: Machine, rounds: int) -> None:
    wanted = instance(env={"FAKE_LOAD": "0.1"})
    for _ in range(rounds):
        await here.driver.ensure(wanted)
        await asyncio.sleep(random.uniform(0, 0.2))
        holding.send(signal.SIGKILL, here.processes())

        await here.serves(wanted)

        assert holders(here) == [here.server().pid]
        await here.removed(wanted)


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05])
async def test_an_instance_removed_while_it_starts_does_not_come_back(
    here: Machine, moment: float
) -> None:
    """What was launched by a supervisor that is gone finds no lock any more, and gives up."""
    wanted = instance()
    await here.another().ensure(wanted)
    await asyncio.sleep(moment)

    await here.removed(wanted)

    for _ in range(20):
        assert holders(here) == []
        assert not holding.is_held(here.place())
        await asyncio.sleep(0.02)
