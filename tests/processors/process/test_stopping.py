"""A clean stop takes served models with it, and the next start brings them back."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace

import pytest

from processors.process import stopping
from processors.process.places import Place, place
from processors.process.stopping import stop_all
from tests.processors.process.rig import OTHER, Machine, instance, living, machine, present

HEAVY = {"nats", "psycopg", "litestar", "huggingface_hub", "asyncio", "urllib3", "opentelemetry"}
IMPORTS = "import sys, processors.process.stopping; print(*{n.split('.')[0] for n in sys.modules})"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncGenerator[Machine]:
    async with machine(tmp_path) as made:
        yield made


async def test_everything_that_is_served_is_stopped(here: Machine) -> None:
    gentle = instance(env={"FAKE_WORKERS": "1"})
    stubborn = instance(OTHER, env={"FAKE_STUBBORN": "1"})
    await here.serves(gentle)
    await here.serves(stubborn)
    family = here.processes() + here.processes(OTHER)

    stopped = await asyncio.to_thread(stop_all, here.data, 0.5)

    assert sorted(stopped) == ["active-llm-abcdef", "active-llm-abcdeg"]
    assert living(family) == []
    assert await asyncio.to_thread(stop_all, here.data, 0.5) == []


async def test_what_was_stopped_is_still_wanted_and_starts_afresh(here: Machine) -> None:
    wanted = instance()
    await here.serves(wanted)
    await asyncio.to_thread(stop_all, here.data)

    after = here.another()

    assert await after.present() == [present(wanted)]
    sight = await here.serves(wanted, after)
    assert sight.status.pods[0].containers[0].restarts == 0


def test_who_stood_still_while_a_server_ended_looks_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, left = 0.0, 6

    def lives(_: Place) -> bool:
        """Each look takes longer than is waited for; it has ended after the first that was late."""
        nonlocal now, left
        now, left = now + 100, left - 1
        return left >= 0

    def wanted(_: Path) -> list[Place]:
        return [served]

    def sleep(_: float) -> None:
        """No time goes by."""

    served = place(tmp_path, "default", "active-llm", OTHER)
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(stopping, "wanted", wanted)
    monkeypatch.setattr(stopping, "_lives", lives)

    assert stop_all(tmp_path) == [served.pod]


def test_nothing_was_ever_served_there(tmp_path: Path) -> None:
    assert stop_all(tmp_path) == []


def test_stopping_needs_nothing_heavy() -> None:
    imported = subprocess.check_output([sys.executable, "-c", IMPORTS], text=True).split()

    assert HEAVY.isdisjoint(imported)
