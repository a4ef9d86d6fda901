"""What tests of serving share: models on an engine of their own, and what is seen of them."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.acceptance.test_installing import fresh
from tests.hub import Hub
from tests.system import System, wait

ENGINE = Path(__file__).with_name("engine.py")
ENGINES = json.dumps(
    {"fake": {"command": [sys.executable, "-S", str(ENGINE), "{port}", "{name}", "{model}"]}}
)
SLOT = "active-llm"


def register(mllm: System, hub: Hub, model: str, **env: str) -> None:
    """Install small weights, and register a model on them that the engine serves."""
    repo = fresh(hub, big=64 * 1024)
    mllm.until(mllm.install(repo.id)["job"]["id"])
    again(mllm, model, repo.id, **env)


def again(mllm: System, model: str, repo: str, **env: str) -> None:
    """Give a model its next manifest."""
    manifest: dict[str, Any] = {
        "id": model,
        "runtime": "fake",
        "weights": {"repo": repo},
        "env": [{"name": name, "value": value} for name, value in env.items()],
    }
    answer = mllm.call("PUT", f"/models/{model}", manifest)
    assert answer.is_success, answer.text


def activate(mllm: System, model: str, **wanted: Any) -> str:
    """Ask for a model to serve; answer the activation's id."""
    answer = mllm.call("POST", "/runtime/activate", {"modelId": model, **wanted})
    assert answer.is_success, answer.text
    id: str = answer.json()["activation"]
    return id


def slot(mllm: System) -> dict[str, Any]:
    found: list[dict[str, Any]] = mllm.get("/runtime")["items"]
    return found[0] if found else {"state": "", "model": "", "candidate": None}


def settled(mllm: System, model: str = "") -> dict[str, Any]:
    """Wait until somebody serves alone, this model if one is named, and answers; answer the slot.

    What serves, what the log says and what answers are then the same.
    """

    def holds() -> bool:
        try:
            now = slot(mllm)
            if now["state"] != "serving" or now["model"] != (model or now["model"]):
                return False
            return servers(mllm) == [now["model"]] and who(mllm) == now["model"]
        except httpx.HTTPError:
            return False

    def explain() -> str:
        return f"{mllm.call('GET', '/runtime').text}\n{servers(mllm)}\n{mllm.log('processors')}"

    wait(holds, explain)
    return slot(mllm)


def who(mllm: System) -> str:
    """Which model answers at the slot's address; nobody: an empty name."""
    answer = mllm.call("POST", f"/serve/{SLOT}/v1/chat/completions", {"messages": []})
    return str(answer.json().get("model", "")) if answer.is_success else ""


def processes(mllm: System) -> list[psutil.Process]:
    """Every process that serves weights of this installation."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter(["cmdline"]):
        words: list[str] = process.info["cmdline"] or []
        ours = any(word.startswith(str(mllm.weights)) for word in words)
        if ours and str(ENGINE) in words and lives(process):
            found.append(process)
    return found


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def servers(mllm: System) -> list[str]:
    """The models in them."""
    return sorted(process.info["cmdline"][-2] for process in processes(mllm))


def ends(mllm: System) -> Counter[str]:
    """How often each activation has ended, by its id."""
    items = mllm.get("/events/log", aggregate="runtime", limit=500)["items"]
    over = ("model.activation.completed", "model.activation.failed")
    return Counter(item["data"]["activation"] for item in items if item["type"] in over)


def requested(mllm: System) -> list[str]:
    items = mllm.get(
        "/events/log", aggregate="runtime", type="model.activation.requested", limit=500
    )["items"]
    return [item["data"]["served"]["id"] for item in items]
