"""Cancelling, pausing and retrying while bytes are on their way."""

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from math import inf

import pytest

from tests.acceptance.test_installing import MIB, assert_installed, fresh, wait_until_unknown
from tests.hub import Hub, Repo, Slow
from tests.system import System, wait

KIB = 1 << 10


@contextmanager
def slowly(hub: Hub, rate: int = 16 * KIB) -> Generator[None]:
    """Let each connection have so many bytes a second, by default next to none, in the block."""
    armed = hub.faults.add(Slow(bytes_per_second=rate, path="model.safetensors"))
    try:
        yield
    finally:
        armed.disarm()


def fetching(mllm: System, hub: Hub, repo: Repo) -> str:
    """An install whose bytes have begun to flow."""
    job: str = mllm.install(repo.id)["job"]["id"]
    wait(lambda: sent(hub, repo) > 0, lambda: mllm.log("processors"))
    return job


def sent(hub: Hub, repo: Repo) -> int:
    return sum(
        exchange.sent for exchange in hub.recording.select("cdn") if exchange.repo == repo.id
    )


def staged(mllm: System, job: str) -> bool:
    return (mllm.weights / ".mllm" / "staging" / "default" / job).exists()


def flowing(hub: Hub, repo: Repo) -> bool:
    """Whether anybody is being sent bytes, even slowly."""
    return any(e.ended == inf for e in hub.recording.select("cdn") if e.repo == repo.id)


def test_cancelling_stops_the_bytes_and_is_the_last_word(mllm: System, hub: Hub) -> None:
    repo = fresh(hub, big=64 * MIB)
    with slowly(hub):
        job = fetching(mllm, hub, repo)
        assert mllm.cli("jobs", "cancel", job, "--yes").code == 0
        mllm.until(job, "cancelled")
        wait(lambda: not flowing(hub, repo), lambda: "bytes are still sent")
        wait(lambda: not staged(mllm, job), lambda: "the partial files are still there")

    assert sent(hub, repo) < 4 * MIB
    assert mllm.events(job)[-1] == "job.cancelled"
    assert mllm.cli("jobs", "wait", job).code == 11
    wait_until_unknown(mllm, repo.id)


def test_a_cancelled_job_that_kept_its_bytes_goes_on_from_them(mllm: System, hub: Hub) -> None:
    repo = fresh(hub, big=64 * MIB)
    with slowly(hub, MIB // 2):
        job = fetching(mllm, hub, repo)
        wait(lambda: sent(hub, repo) > 12 * MIB, lambda: mllm.log("processors"))
        mllm.call("POST", f"/jobs/{job}/cancel", {"keepPartial": True})
        mllm.until(job, "cancelled")
    assert staged(mllm, job)

    mllm.call("POST", f"/jobs/{job}/retry", {})
    done = mllm.until(job, "completed")

    assert done["status"] == "completed"
    assert sent(hub, repo) < (64 + 4) * MIB  # what was under way is sent twice, and no more
    assert_installed(mllm, repo)


def test_a_clean_retry_starts_from_nothing(mllm: System, hub: Hub) -> None:
    repo = fresh(hub, big=16 * MIB)
    with slowly(hub):
        job = fetching(mllm, hub, repo)
        mllm.call("POST", f"/jobs/{job}/cancel", {"keepPartial": True})
        mllm.until(job, "cancelled")
    before = sent(hub, repo)

    mllm.call("POST", f"/jobs/{job}/retry", {"clean": True})
    mllm.until(job, "completed")

    assert sent(hub, repo) - before == 16 * MIB


def test_pausing_stops_the_bytes_and_resuming_goes_on(mllm: System, hub: Hub) -> None:
    repo = fresh(hub, big=32 * MIB)
    with slowly(hub):
        job = fetching(mllm, hub, repo)
        assert mllm.cli("jobs", "pause", job).code == 0
        mllm.until(job, "paused")
        wait(lambda: not flowing(hub, repo), lambda: "bytes are still sent")
        assert mllm.job(job)["status"] == "paused"
    assert sent(hub, repo) < 4 * MIB

    assert mllm.cli("jobs", "resume", job).code == 0
    mllm.until(job, "completed")

    assert_installed(mllm, repo)


def race(mllm: System, hub: Hub, rounds: int) -> set[str]:
    """Cancel installs at random moments around their commit; answer how they ended."""
    ends: set[str] = set()
    for _ in range(rounds):
        repo = fresh(hub, big=64 * 1024)
        job = mllm.install(repo.id)["job"]["id"]
        time.sleep(random.uniform(0.0, 0.35))
        mllm.call("POST", f"/jobs/{job}/cancel", {})
        status = mllm.until(job)["status"]
        events = mllm.events(job)
        info = mllm.call("GET", "/weights/info", name=repo.id)
        # the claim of a cancelled job ends a moment after the job does
        installed = info.is_success and info.json()["weights"]["status"] == "installed"
        on_disk = (mllm.weights / "default" / repo.id).exists()
        assert (status == "completed", status == "cancelled") == (installed, not on_disk), events
        assert ("job.completed" in events) != ("job.cancelled" in events)
        assert events[-1] in ("job.completed", "job.cancelled")
        ends.add(status)
    return ends


def test_cancel_raced_against_the_commit_ends_in_exactly_one_of_them(
    mllm: System, hub: Hub
) -> None:
    assert race(mllm, hub, 12) <= {"completed", "cancelled"}


@pytest.mark.chaos
def test_cancel_raced_against_the_commit_a_hundred_times(mllm: System, hub: Hub) -> None:
    assert race(mllm, hub, 100) == {"completed", "cancelled"}


def test_an_unknown_job_is_not_found(mllm: System) -> None:
    for verb in ("cancel", "pause", "resume", "retry"):
        assert mllm.call("POST", f"/jobs/{'0' * 26}/{verb}").status_code == 404


def test_priorities_are_shown_and_changed(mllm: System, hub: Hub) -> None:
    repo = fresh(hub, big=8 * MIB)
    with slowly(hub):
        job = fetching(mllm, hub, repo)
        assert mllm.cli("jobs", "priority", job, "high").code == 0
        assert mllm.job(job)["priority"] == 0
        mllm.call("POST", f"/jobs/{job}/cancel")
        mllm.until(job)
