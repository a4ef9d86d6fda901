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

from cli.config import read_settings
from cli.embedded.nats import free_ports
from cli.failures import Failure
from cli.loopback_hub.demo import DEMO_MODEL, demo_model
from cli.loopback_hub.hub import LoopbackHub

REAL_MODEL = "hf-internal-testing/tiny-random-LlamaForCausalLM"
REACH_SECONDS = 3


def demo() -> None:
    """Install, verify and list a small model on a stack of its own, and show how it went."""
    with tempfile.TemporaryDirectory(prefix="mllm-demo-") as place, _hub() as (endpoint, model):
        env = _environment(Path(place), endpoint)
        try:
            _tour(env, model)
        finally:
            _mllm(env, "down")
    print("\nNothing of this is left. To start for real: mllm up")


def _tour(env: Mapping[str, str], model: str) -> None:
    name = model.rpartition("/")[2]
    _run(env, "up", "--detach", "--port", env["MLLM_PORT"])
    _run(env, "weights", "plan", model, "--target", name)
    _run(env, "weights", "install", model, "--target", name, "--watch")
    _run(env, "weights", "verify", name, "--watch")
    _run(env, "weights", "list")
    _run(env, "jobs", "list")
    print("\nAnd these are the events that made it so:")
    _run(env, "events", "list", "--limit", "100")


@contextmanager
def _hub() -> Generator[tuple[str, str]]:
    """A Hub and a model on it: the real one, or one made here when that is out of reach."""
    endpoint = read_settings({}).hf_endpoint
    if _in_reach(endpoint):
        print(f"Installing {REAL_MODEL} from {endpoint}.")
        yield endpoint, REAL_MODEL
        return
    print(f"{endpoint} is out of reach: a small model is made here and served from loopback.")
    with LoopbackHub({DEMO_MODEL: demo_model()}) as hub:
        yield hub.url, DEMO_MODEL


def _in_reach(endpoint: str) -> bool:
    request = urllib.request.Request(f"{endpoint}/api/models/{REAL_MODEL}", method="HEAD")
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
    return subprocess.run(
        [sys.executable, "-P", "-m", "cli", *words], env=env, check=False
    ).returncode
