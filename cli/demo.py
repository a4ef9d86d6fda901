"""`mllm demo`: the main job from start to finish, on real servers, by the commands one would type.

It keeps to itself: a temporary directory holds its data and its configuration, and nothing of it is
left when it ends.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cli.asking import Asking, ask
from cli.config import read_settings
from cli.embedded.nats import free_ports
from cli.failures import Failure
from cli.loopback_hub.demo import demo_chats
from cli.loopback_hub.hub import LoopbackHub

REACH_SECONDS = 3
QUESTION = "Who are you?"
RATE = 20.0


class Chat(NamedTuple):
    """A small model that llama.cpp runs: which files of which repository. `name` is ours."""

    name: str
    repo: str
    include: str = ""


REAL = (
    Chat("blue", "bartowski/SmolLM2-135M-Instruct-GGUF", "*Q4_K_M.gguf"),
    Chat("green", "bartowski/SmolLM2-135M-Instruct-GGUF", "*Q8_0.gguf"),
)


def demo() -> None:
    """Install, serve, ask and switch small models on a stack of its own, and show how it went."""
    with tempfile.TemporaryDirectory(prefix="mllm-demo-") as place, _hub() as (endpoint, chats):
        env = _environment(Path(place), endpoint)
        try:
            _tour(env, Path(place), *chats)
        finally:
            _mllm(env, "down")
    print("\nNothing of this is left. To start for real: mllm up")


def _tour(env: Mapping[str, str], place: Path, first: Chat, second: Chat) -> None:
    _run(env, "up", "--detach", "--port", env["MLLM_PORT"])
    _install(env, first)
    _run(env, "weights", "verify", first.name, "--watch")
    _run(env, "weights", "list")
    _register(env, place, first)
    _run(env, "runtime", "activate", first.name, "--watch")
    _chat(env)
    print("\nA second model takes over, while the first is being asked 20 times a second:")
    _install(env, second)
    _register(env, place, second)
    with Asking(env, RATE) as asking:
        _run(env, "runtime", "switch", second.name, "--watch")
    print(asking.summary)
    if asking.failed:
        raise Failure(f"{asking.failed} requests failed during the switch", "see above")
    _chat(env)
    _run(env, "runtime", "status")
    print("\nAnd these are the events that made it so:")
    _run(env, "events", "list", "--limit", "200")


def _install(env: Mapping[str, str], chat: Chat) -> None:
    only = ("--include", chat.include) if chat.include else ()
    _run(env, "weights", "install", chat.repo, *only, "--target", chat.name, "--watch")


def _register(env: Mapping[str, str], place: Path, chat: Chat) -> None:
    """As one would who writes manifests down and keeps them."""
    file = place / f"{chat.name}.yaml"
    words = ("models", "init", chat.name)
    print(f"\n$ mllm {shlex.join(words)} > {file.name}", flush=True)
    with file.open("wb") as output:
        argv = (sys.executable, "-P", "-m", "cli", *words)
        if subprocess.run(argv, env=env, stdout=output, check=False).returncode:
            raise Failure("no manifest could be written", "see above")
    _run(env, "models", "apply", "-f", str(file))


def _chat(env: Mapping[str, str]) -> None:
    print(f"\n$ curl …/serve/active-llm/v1/chat/completions   # {QUESTION}", flush=True)
    print(ask(env, QUESTION))


@contextmanager
def _hub() -> Generator[tuple[str, tuple[Chat, Chat]]]:
    """A Hub and models on it: the real one, or one made here when that is out of reach."""
    endpoint = read_settings({}).hf_endpoint
    if _in_reach(endpoint):
        print(f"Installing from {endpoint}.")
        yield endpoint, REAL
        return
    print(f"{endpoint} is out of reach: small models are made here and served from loopback.")
    repos = demo_chats()
    with LoopbackHub(repos) as hub:
        blue, green = repos
        yield hub.url, (Chat("blue", blue), Chat("green", green))


def _in_reach(endpoint: str) -> bool:
    request = urllib.request.Request(f"{endpoint}/api/models/{REAL[0].repo}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=REACH_SECONDS):
            return True
    except (OSError, urllib.error.URLError):
        return False


def _environment(place: Path, endpoint: str) -> dict[str, str]:
    inherited = {name: v for name, v in os.environ.items() if not name.startswith("MLLM_")}
    # Under root, Postgres runs as another user, who has to pass through.
    place.chmod(0o711)
    return inherited | {
        "XDG_CONFIG_HOME": str(place / "config"),
        "MLLM_DATA_DIR": str(place / "data"),
        "MLLM_PORT": str(free_ports(1)[0]),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(place / "huggingface"),
    }


def _run(env: Mapping[str, str], *words: str) -> None:
    """Show a command, run it, and insist that it succeeds."""
    print(f"\n$ mllm {shlex.join(words)}", flush=True)
    if code := _mllm(env, *words):
        raise Failure(f"`mllm {shlex.join(words)}` ended with {code}", "see above")


def _mllm(env: Mapping[str, str], *words: str) -> int:
    argv = (sys.executable, "-P", "-m", "cli", *words)
    return subprocess.run(argv, env=env, check=False).returncode
