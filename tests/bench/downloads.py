"""How long installs take, from the request to `job.completed`, beside `hf download` and aria2c.

All fetch the same files from the same Hub onto the same disk, where each time they find nothing.
Ours hash what they fetch and make it survive a power cut; the others do not.
"""

import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from processors.fetch.layout import RESERVED
from tests.bench.figures import (
    Bound,
    Figure,
    Measurement,
    NotMeasured,
    in_turn,
    paired,
    seconds,
)
from tests.bench.installation import hub, installation
from tests.bench.memory import HighWater, high_water
from tests.hub.command import HF, hf_environment
from tests.system import TOKEN, System, wait

GIB = 1 << 30
ONE, FOUR = "org/one", "org/four"
ONE_FILE = "model-00001-of-00001.safetensors"
MODELS = ("--model", f"{ONE}=1x{GIB}", "--model", f"{FOUR}=4x{GIB // 4}")
RATE = 40_000_000
LEAST = 1 << 20

ONE_BOUND = Bound("1 GiB / hf", 1.0)
FOUR_BOUND = Bound("4 x 256 MiB / hf", 1.0)
WORKER_BOUND = Bound("peak memory of the worker", 200, unit="MiB")
HF_BOUND = Bound("1 GiB at 40 MB/s a connection / hf", 0.25)
ARIA2_BOUND = Bound("1 GiB at 40 MB/s a connection / aria2c -x16", 1.15)
CHILD_BOUND = Bound("peak memory of the Xet child", 1536, unit="MiB")
CANCEL_BOUND = Bound("from asking to cancel to job.cancelled", 2.0, unit="s")


def unlimited(runs: int) -> Iterator[Figure]:
    with hub(*MODELS) as url, installation(url) as mllm:
        for repo, bound in ((ONE, ONE_BOUND), (FOUR, FOUR_BOUND)):
            taken = in_turn(runs, mllm=installs(mllm, repo), hf=hf(mllm.home, url, repo))
            yield bound.figure(paired(taken, "mllm", "hf"))
        yield WORKER_BOUND.figure(high_water(mllm.processes["processors"].pid))


def slow(runs: int) -> Iterator[Figure]:
    """The Hub gives so much on each connection, and no more."""
    with hub("--rate", str(RATE), *MODELS[:2]) as url, installation(url) as mllm:
        programs = {"mllm": installs(mllm, ONE), "hf": hf(mllm.home, url, ONE)}
        if found := shutil.which("aria2c"):
            programs["aria2c"] = aria2(found, mllm.home / "aria2", url)
        taken = in_turn(runs, **programs)
    yield HF_BOUND.figure(paired(taken, "mllm", "hf"))
    if not found:
        raise NotMeasured("aria2c is not installed: apt-get install aria2")
    yield ARIA2_BOUND.figure(paired(taken, "mllm", "aria2c"))


def cancelling(runs: int) -> Iterator[Figure]:
    with hub("--rate", str(RATE // 40), *MODELS[:2]) as url, installation(url) as mllm:
        taken = in_turn(runs, cancel=lambda run: cancels(mllm, f"{ONE}-{run}"))["cancel"]
    yield CANCEL_BOUND.figure(statistics.median(taken))


def xet(runs: int) -> Iterator[Figure]:
    """The worker's child is seen only while it lives, so it is looked at often."""
    with hub("--xet", *MODELS[:2]) as url, installation(url, MLLM_XET="auto") as mllm:
        peaks: list[float] = []
        install = installs(mllm, ONE)

        def watched(run: int) -> float:
            with HighWater(mllm.processes["processors"].pid, "xet_child") as child:
                install(run)
            peaks.append(child.peak)
            return child.peak

        in_turn(runs, child=watched)
    if not all(peaks):
        raise NotMeasured("the worker had no Xet child")
    yield CHILD_BOUND.figure(max(peaks))


def installs(mllm: System, repo: str) -> Callable[[int], float]:
    """Install `repo`, each time into another target, which is deleted by whoever installed it."""

    def timed(run: int) -> float:
        target = f"{repo}-{run}"
        taken = seconds(lambda: completed(mllm, repo, target))
        deleting = mllm.call("DELETE", "/weights", name=target).raise_for_status().json()
        mllm.until(deleting["job"]["id"], "completed")
        return taken

    return timed


def completed(mllm: System, repo: str, target: str) -> None:
    """Ask for an install and follow its events up to the last. Raises `AssertionError`."""
    accepted = mllm.install(repo, target=target)
    query = {
        "type": "job.completed,job.failed",
        "aggregate": "job",
        "id": accepted["job"]["id"],
        "after": str(accepted["sequence"]),
    }
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.stream(
        "GET", f"{mllm.url}/events", params=query, headers=headers, timeout=60
    ) as events:
        last = next(line for line in events.iter_lines() if line.startswith("event: job."))
    assert last == "event: job.completed", mllm.log("processors")


def cancels(mllm: System, target: str) -> float:
    """Cancel an install while its bytes flow; that it is cancelled is said once they do not."""
    job = mllm.install(ONE, target=target)["job"]["id"]
    staged = mllm.weights / RESERVED / "staging" / "default" / job
    wait(lambda: on_disk(staged) > LEAST, lambda: mllm.log("processors"))

    def cancel() -> None:
        mllm.call("POST", f"/jobs/{job}/cancel").raise_for_status()
        mllm.until(job, "cancelled")

    return seconds(cancel)


def on_disk(place: Path) -> int:
    """Bytes that the files below `place` take, where most of a file may not have come yet."""
    try:
        return sum(path.lstat().st_blocks * 512 for path in place.rglob("*") if path.is_file())
    except FileNotFoundError:  # what is being fetched comes and goes
        return 0


def hf(home: Path, url: str, repo: str) -> Callable[[int], float]:
    """`hf download` over HTTP, as our own worker does it."""
    place = home / "hf"
    environment = hf_environment(url, place / "home")
    argv = (HF, "download", repo, "--local-dir", place / "model")

    def download() -> None:
        subprocess.run(argv, env=environment, check=True, capture_output=True)

    return fresh(place, download)


def aria2(program: str, place: Path, url: str) -> Callable[[int], float]:
    file = f"{url}/{ONE}/resolve/main/{ONE_FILE}"
    argv = (program, "-q", "-x16", "-s16", "-k1M", "-d", place, "-o", "model", file)

    def download() -> None:
        subprocess.run(argv, check=True, capture_output=True)

    return fresh(place, download)


def fresh(place: Path, download: Callable[[], None]) -> Callable[[int], float]:
    """Time a download into a new directory, which is deleted afterwards."""

    def timed(_: int) -> float:
        place.mkdir()
        taken = seconds(download)
        shutil.rmtree(place)
        return taken

    return timed


MEASUREMENTS = (
    Measurement("downloads", (ONE_BOUND, FOUR_BOUND, WORKER_BOUND), unlimited),
    Measurement("slow-downloads", (HF_BOUND, ARIA2_BOUND), slow),
    Measurement("cancelling", (CANCEL_BOUND,), cancelling),
    Measurement("xet-memory", (CHILD_BOUND,), xet),
)
