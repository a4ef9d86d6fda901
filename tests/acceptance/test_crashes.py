"""Processes that die, sleep and come back at bad moments: nothing lost, nothing twice."""

import random
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import psutil
import pytest

from tests.acceptance.test_installing import MIB, assert_installed, fresh
from tests.acceptance.test_stopping import sent, slowly
from tests.hub import Hub, Repo
from tests.system import System, system, wait

STREAMS = 16


@pytest.fixture
def mortal(
    tmp_path: Path, nats_url: str, database_url: str, stream_prefix: str, hub: Hub
) -> Generator[System]:
    """An installation whose processes a test may kill."""
    with system(tmp_path, nats_url, database_url, stream_prefix, hub.url) as made:
        made.start()
        yield made


def kill_at_random(mllm: System, hub: Hub, size: int, runs: int, most: float) -> None:
    """Kill the worker at a random moment of an install, each time of a new repository."""
    for _ in range(runs):
        repo = fresh(hub, big=size)
        with slowly(hub, 4 * MIB):
            job = mllm.install(repo.id)["job"]["id"]
            time.sleep(random.uniform(0.0, most))
            mllm.kill("processors")
            mllm.start("processors")
            done = mllm.until(job)
        assert done["status"] == "completed", done
        assert_installed(mllm, repo)
        assert sent(hub, repo) <= size + STREAMS * 4 * MIB
        installed = mllm.get("/events/log", type="weights.installed", limit=500)["items"]
        assert len([e for e in installed if e["data"]["job"] == job]) == 1


def test_a_worker_killed_at_random_moments_goes_on_where_it_stopped(
    mortal: System, hub: Hub
) -> None:
    kill_at_random(mortal, hub, size=128 * MIB, runs=5, most=3.0)


@pytest.mark.chaos
def test_a_worker_killed_thirty_times_in_installs_of_a_gibibyte(mortal: System, hub: Hub) -> None:
    kill_at_random(mortal, hub, size=1024 * MIB, runs=30, most=20.0)


def state(place: Path) -> Mapping[str, tuple[int, int, int]]:
    """Everything below `place`: inode, size and time of change."""
    files = (path for path in sorted(place.rglob("*")))
    return {
        str(path): (path.stat().st_ino, path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
    }


def test_a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes(
    mortal: System, hub: Hub
) -> None:
    repo = fresh(hub, big=64 * MIB)
    with slowly(hub, MIB // 4):
        job = mortal.install(repo.id)["job"]["id"]
        wait(lambda: sent(hub, repo) > 4 * MIB, lambda: mortal.log("processors"))
        mortal.send("processors", SIGSTOP)
    mortal.join("processors", "other")

    done = mortal.until(job)
    before = state(mortal.weights), mortal.events(job)
    mortal.send("processors", SIGCONT)
    sleeper = mortal.processes["processors"].pid
    wait(lambda: _idle(sleeper), lambda: mortal.log("processors"))

    assert (done["status"], done["attempt"] > 1) == ("completed", True), done
    assert_installed(mortal, repo)
    assert (state(mortal.weights), mortal.events(job)) == before


def _idle(pid: int) -> bool:
    """Whether a process has no file of weights open any more."""
    return not any("/weights/" in file.path for file in psutil.Process(pid).open_files())


@pytest.fixture
def patient(
    tmp_path: Path, nats_url: str, database_url: str, stream_prefix: str, hub: Hub
) -> Generator[System]:
    """An installation whose leases outlast the test: no job changes hands because one ended."""
    settings = {"MLLM_LEASE_SECONDS": "600"}
    with system(tmp_path, nats_url, database_url, stream_prefix, hub.url, **settings) as made:
        made.start()
        yield made


def test_two_workers_share_the_work_and_do_nothing_twice(patient: System, hub: Hub) -> None:
    patient.join("processors", "other")
    repos: list[Repo] = [fresh(hub, big=MIB) for _ in range(12)]

    jobs = [patient.install(repo.id)["job"]["id"] for repo in repos]

    for job, repo in zip(jobs, repos, strict=True):
        assert patient.until(job)["status"] == "completed"
        assert patient.events(job).count("job.started") == 1
        assert sent(hub, repo) == MIB


def test_a_worker_told_to_stop_hands_its_job_over_at_once(patient: System, hub: Hub) -> None:
    repo = fresh(hub, big=64 * MIB)
    with slowly(hub):
        job = patient.install(repo.id)["job"]["id"]
        wait(lambda: sent(hub, repo) > 0, lambda: patient.log("processors"))
        patient.join("processors", "other")
        patient.stop("processors")
        wait(lambda: patient.job(job)["attempt"] == 2, lambda: patient.log("other"))

    assert patient.until(job)["status"] == "completed"
    assert_installed(patient, repo)
