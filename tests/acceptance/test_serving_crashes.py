"""Whatever is killed while a model comes up or serves: it goes on, or another takes over."""

import random
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.acceptance.serving import (
    ENGINES,
    activate,
    ends,
    processes,
    register,
    requested,
    settled,
    slot,
)
from tests.acceptance.test_up import Machine, machine_at
from tests.hub import Hub
from tests.system import System, system

VICTIMS = ("server", "processors", "gateway")


@pytest.fixture
def mortal(
    tmp_path: Path, nats_url: str, database_url: str, stream_prefix: str, hub: Hub
) -> Generator[System]:
    """An installation with two models, blue and green, whose processes a test may kill."""
    settings = {"MLLM_ENGINES": ENGINES, "MLLM_RESTART_CAP_SECONDS": "2"}
    with system(tmp_path, nats_url, database_url, stream_prefix, hub.url, **settings) as made:
        made.start()
        register(made, hub, "blue", ENGINE_LOAD="0.4")
        register(made, hub, "green", ENGINE_LOAD="0.4")
        yield made
        made.stop("processors")
        for process in processes(made):
            process.kill()


def kill(mllm: System, victim: str) -> None:
    """Kill a process, and start it again if that is nobody's else to do."""
    if victim != "server":
        mllm.kill(victim)
        mllm.start(victim)
    elif found := processes(mllm):
        with suppress(psutil.NoSuchProcess):  # the switch has just done away with it
            random.choice(found).kill()


def kill_while_switching(mllm: System, victim: str, rounds: int) -> None:
    """Whatever is killed during an activation: it ends once, and the slot is what the log says."""
    activate(mllm, "blue")
    settled(mllm, "blue")
    for _ in range(rounds):
        other = "green" if slot(mllm)["model"] == "blue" else "blue"
        activate(mllm, other, strategy=random.choice(["direct", "blue-green"]))
        time.sleep(random.uniform(0.0, 2.0))
        kill(mllm, victim)
        settled(mllm)
    assert ends(mllm) == dict.fromkeys(requested(mllm), 1)


def kill_while_serving(mllm: System, victim: str, rounds: int) -> None:
    """What serves is not touched by the death of who looks after it, and replaced by its own."""
    activate(mllm, "blue")
    settled(mllm, "blue")
    for _ in range(rounds):
        [before] = processes(mllm)
        kill(mllm, victim)
        settled(mllm, "blue")
        [after] = processes(mllm)
        assert (before == after) == (victim != "server")


@pytest.mark.parametrize("victim", VICTIMS)
def test_an_activation_survives_kills(mortal: System, victim: str) -> None:
    kill_while_switching(mortal, victim, 3)


@pytest.mark.parametrize("victim", VICTIMS)
def test_serving_survives_kills(mortal: System, victim: str) -> None:
    kill_while_serving(mortal, victim, 3)


@pytest.mark.chaos
@pytest.mark.parametrize("victim", VICTIMS)
def test_an_activation_survives_twenty_kills(mortal: System, victim: str) -> None:
    kill_while_switching(mortal, victim, 20)


@pytest.mark.chaos
@pytest.mark.parametrize("victim", VICTIMS)
def test_serving_survives_twenty_kills(mortal: System, victim: str) -> None:
    kill_while_serving(mortal, victim, 20)


@pytest.fixture
def machine(hub: Hub) -> Generator[Machine]:
    with machine_at(hub, MLLM_ENGINES=ENGINES) as made:
        yield made
        for process in processes(made):
            process.kill()


def kill_up(machine: Machine) -> None:
    """`mllm up` alone, or with everything it started; but not what serves."""
    up = psutil.Process(machine.status.process.pid)
    served = set(processes(machine))
    others = random.choice([set[psutil.Process](), set(up.children(recursive=True)) - served])
    for process in {up} | others:
        with suppress(psutil.NoSuchProcess):  # it died with one that was killed before it
            process.kill()


def kill_machines(machine: Machine, hub: Hub, rounds: int) -> None:
    machine.up()
    register(machine, hub, "blue", ENGINE_LOAD="0.4")
    register(machine, hub, "green", ENGINE_LOAD="0.4")
    activate(machine, "blue")
    settled(machine, "blue")
    for round_ in range(rounds):
        before = processes(machine)
        if round_ % 2:
            other = "green" if slot(machine)["model"] == "blue" else "blue"
            activate(machine, other, strategy=random.choice(["direct", "blue-green"]))
            time.sleep(random.uniform(0.0, 2.0))
        kill_up(machine)
        machine.up()
        settled(machine)
        if not round_ % 2:
            assert processes(machine) == before
    assert ends(machine) == dict.fromkeys(requested(machine), 1)
    assert machine.cli("down").code == 0
    assert processes(machine) == []


def test_what_serves_outlives_mllm_up_and_is_found_again(machine: Machine, hub: Hub) -> None:
    kill_machines(machine, hub, 3)


@pytest.mark.chaos
def test_what_serves_outlives_mllm_up_twenty_times(machine: Machine, hub: Hub) -> None:
    kill_machines(machine, hub, 20)


def test_a_clean_stop_takes_what_serves_along_and_the_next_start_brings_it_back(
    machine: Machine, hub: Hub
) -> None:
    machine.up()
    register(machine, hub, "blue")
    activate(machine, "blue")
    settled(machine, "blue")

    assert machine.cli("down").code == 0
    assert processes(machine) == []

    machine.up()
    settled(machine, "blue")
    assert machine.cli("down").code == 0
