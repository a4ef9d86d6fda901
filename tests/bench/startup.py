"""How long the command line takes to start, beside programs that do as little, and `mllm up`."""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from cli.embedded.nats import free_ports
from tests.bench.figures import Bound, Figure, Measurement, in_turn, paired, seconds
from tests.bench.installation import installation
from tests.hub.command import HF, hf_environment
from tests.system import TOKEN, System

MLLM = Path(sys.executable).with_name("mllm")
LEAST_RUNS = 7
NO_HUB = "http://127.0.0.1:9"

VERSION = Bound("mllm version / import cyclopts", 1.5)
LIST = Bound("mllm jobs list / hf version", 1.0)
UP = Bound("mllm up on a warm data directory", 5.0, unit="s")


def take(runs: int) -> Iterator[Figure]:
    """Whole processes, seven of each at least: they are short, and a busy machine shows in them."""
    runs = max(runs, LEAST_RUNS)
    yield UP.figure(statistics.median(warm_ups(runs)))
    with installation(NO_HUB, "gateway", "projections") as mllm:
        ours = environment(mllm)
        theirs = hf_environment(NO_HUB, mllm.home / "hf")
        version = in_turn(
            runs,
            mllm=lambda _: start(ours, MLLM, "version"),
            cyclopts=lambda _: start(ours, sys.executable, "-c", "import cyclopts"),
        )
        yield VERSION.figure(paired(version, "mllm", "cyclopts"))
        listing = in_turn(
            runs,
            mllm=lambda _: start(ours, MLLM, "jobs", "list"),
            hf=lambda _: start(theirs, HF, "version"),
        )
        yield LIST.figure(paired(listing, "mllm", "hf"))


def warm_ups(runs: int) -> Sequence[float]:
    """Seconds that `mllm up` takes each time, after a first one that makes the data directory."""
    with TemporaryDirectory(prefix="mllm-bench-") as home:
        Path(home).chmod(0o711)  # Postgres has an account of its own to come here with
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "XDG_CONFIG_HOME": f"{home}/config",
            "MLLM_DATA_DIR": f"{home}/data",
            "MLLM_PORT": str(free_ports(1)[0]),
        }

        def up(_: int) -> float:
            try:
                return start(environment, MLLM, "up", "--detach")
            finally:
                start(environment, MLLM, "down")

        up(0)
        return in_turn(runs, up=up)["up"]


def environment(mllm: System) -> Mapping[str, str]:
    """What someone has set who uses this installation."""
    names = ("PATH", "HOME", "XDG_CONFIG_HOME")
    return {name: mllm.env[name] for name in names} | {"MLLM_SERVER": mllm.url, "MLLM_TOKEN": TOKEN}


def start(environment: Mapping[str, str], *argv: str | Path) -> float:
    """Seconds until a program has ended. Raises `CalledProcessError` if it fails."""
    return seconds(lambda: subprocess.run(argv, env=environment, check=True, capture_output=True))


measurement = Measurement("startup", (UP, VERSION, LIST), take)
