"""Models that serve: activated, switched under load, raced for, and taken down again."""

import asyncio
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import schema
from tests.acceptance.serving import (
    ENGINES,
    SLOT,
    activate,
    processes,
    register,
    servers,
    settled,
    slot,
    who,
)
from tests.hub import Hub
from tests.support import PATIENCE
from tests.system import TOKEN, System, system, wait

MODELS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres_url: str, hub: Hub
) -> Generator[System]:
    """An installation with three models that serve, and one that never comes up."""
    home: Path = tmp_path_factory.mktemp("stage")
    name = f"s{uuid4().hex[:6]}"
    database = schema(postgres_url, name)
    with system(home, nats_url, database, name, hub.url, MLLM_ENGINES=ENGINES) as made:
        made.start()
        for model in MODELS:
            register(made, hub, model, ENGINE_HOLD=str(hold(made)))
        register(made, hub, "broken", ENGINE_DIE="3")
        yield made
        made.call("POST", "/runtime/deactivate", {})
        wait(lambda: not processes(made), lambda: made.log("processors"))
        made.stop()


def hold(mllm: System) -> Path:
    """While this file is there, no model begins to serve."""
    return mllm.home / "hold"


def test_a_model_is_activated_answers_and_is_taken_down(stage: System) -> None:
    activate(stage, "blue")
    settled(stage, "blue")
    phases = stage.get("/runtime/history")["items"][0]["phases"]
    assert [phase["phase"] for phase in phases][-1] == "switch"

    assert stage.call("POST", "/runtime/deactivate", {}).status_code == 202

    wait(lambda: slot(stage)["state"] == "idle", lambda: stage.log("processors"))
    assert servers(stage) == []
    refused = stage.call("POST", f"/serve/{SLOT}/v1/chat/completions", {"messages": []})
    assert (refused.status_code, refused.json()["code"]) == (503, "not_serving")


def test_a_model_that_serves_and_its_weights_can_not_be_deleted(stage: System) -> None:
    activate(stage, "blue")
    now = settled(stage, "blue")

    refused = stage.call("DELETE", "/models/blue")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    refused = stage.call("DELETE", "/weights", name=now["target"])
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert SLOT in refused.json()["detail"]


def test_asking_again_for_what_serves_changes_nothing(stage: System) -> None:
    first = activate(stage, "blue")
    settled(stage, "blue")
    [process] = processes(stage)

    activate(stage, "blue")

    assert settled(stage, "blue")["activation"] in (first, slot(stage)["activation"])
    assert [one.pid for one in processes(stage)] == [process.pid]


def test_a_candidate_that_dies_leaves_the_current_one_serving(stage: System) -> None:
    activate(stage, "blue")
    settled(stage, "blue")
    [process] = processes(stage)

    activate(stage, "broken", strategy="blue-green")

    wait(lambda: slot(stage)["failure"] is not None, lambda: stage.log("processors"))
    assert slot(stage)["failure"]["code"] == "engine_failed"
    assert settled(stage, "blue")
    assert [one.pid for one in processes(stage)] == [process.pid]


def test_what_was_taken_down_for_one_that_dies_comes_back(stage: System) -> None:
    activate(stage, "blue")
    settled(stage, "blue")

    failed = activate(stage, "broken", strategy="direct")

    def rolled_back() -> bool:
        items = stage.get("/runtime/history")["items"]
        return any(one["id"] == failed and one["returnedTo"] == "blue" for one in items)

    wait(rolled_back, lambda: stage.log("processors"))
    settled(stage, "blue")


def test_a_switch_under_load_is_no_failed_request(stage: System) -> None:
    activate(stage, "blue")
    settled(stage, "blue")

    seen = asyncio.run(asked_while_switching(stage))

    assert [status for status, _ in seen if status != 200] == []
    models = [model for _, model in seen]
    assert models[0] == "blue"
    assert models[-1] == "green"


async def asked_while_switching(mllm: System) -> list[tuple[int, str]]:
    """Ask 20 times a second while blue gives way to green, and a second longer."""
    url = f"{mllm.url}/serve/{SLOT}/v1/chat/completions"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers=headers, timeout=PATIENCE, limits=limits) as client:

        async def ask() -> tuple[int, str]:
            answer = await client.post(url, json={"messages": []})
            return answer.status_code, str(answer.json().get("model", ""))

        asked = [asyncio.create_task(ask())]
        switching = asyncio.create_task(asyncio.to_thread(switch, mllm))
        until = inf
        while time.monotonic() < until:
            asked.append(asyncio.create_task(ask()))
            await asyncio.sleep(0.05)
            if switching.done() and until == inf:
                until = time.monotonic() + 1
        await switching
        return await asyncio.gather(*asked)


def switch(mllm: System) -> None:
    activate(mllm, "green", strategy="blue-green")
    settled(mllm, "green")


def race(mllm: System, rounds: int) -> None:
    """Two models asked for at once: one comes, and the other is told which, and who asked."""
    for _ in range(rounds):
        pair = [model for model in MODELS if model != slot(mllm)["model"]][:2]
        hold(mllm).touch()  # or the first might be done before the second is heard
        with ThreadPoolExecutor(2) as pool:
            answers = dict(zip(pair, pool.map(partial(ask, mllm), pair), strict=True))
        hold(mllm).unlink()
        [won] = [model for model, answer in answers.items() if answer.is_success]
        [lost] = [answer.json() for answer in answers.values() if not answer.is_success]
        assert (lost["code"], lost["details"]["model"]) == ("conflict", won)
        assert lost["details"]["by"] == "token/admin"
        settled(mllm, won)


def ask(mllm: System, model: str) -> httpx.Response:
    return mllm.call("POST", "/runtime/activate", {"modelId": model})


def test_of_two_activations_at_once_exactly_one_wins(stage: System) -> None:
    race(stage, 5)


@pytest.mark.chaos
def test_of_two_activations_at_once_exactly_one_wins_fifty_times(stage: System) -> None:
    race(stage, 50)


def test_the_previous_model_comes_back_when_asked(stage: System) -> None:
    for model in ("blue", "green"):
        activate(stage, model)
        settled(stage, model)

    assert stage.call("POST", "/runtime/rollback", {}).status_code == 202

    settled(stage, "blue")
    assert who(stage) == "blue"
