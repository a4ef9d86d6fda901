"""The edges of what an installation can bear: no room, a great many files, servers that are away,
several of each role, Xet storage that does not work."""

import json
import os
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from cli.embedded.nats import free_ports
from cli.loopback_hub import Source
from processors.fetch import manifest as manifests
from processors.fetch.layout import manifest_path
from tests import servers
from tests.acceptance.soundness import assert_sound
from tests.acceptance.test_installing import MIB, SMALL, assert_installed, fresh, wait_until_unknown
from tests.acceptance.test_stopping import sent, slowly
from tests.hub import About, Hub, Refuse, Repo, generated
from tests.servers import Server
from tests.support import PATIENCE
from tests.system import TOKEN, System, system, wait

STREAMS = 16
PART = 4 * MIB


@contextmanager
def store(mllm: System, name: str, **settings: str) -> Generator[System]:
    """A weights volume of its own, with a worker that mounts it; the system as seen from there."""
    assert mllm.cli("migrate", "--store", name).code == 0
    place = {"MLLM_STORE": name, "MLLM_WEIGHTS_DIR": str(mllm.home / f"weights-{name}")}
    port = str(free_ports(1)[0])
    mllm.launch("processors", name, **place, MLLM_METRICS_PORT=port, **settings)

    def mounted() -> bool:
        assert mllm.processes[name].poll() is None, mllm.log(name)
        return any(usage["store"] == name for usage in mllm.get("/weights/usage")["stores"])

    try:
        wait(mounted, lambda: mllm.log(name))
        yield replace(mllm, env={**mllm.env, **place})
    finally:
        mllm.stop(name)


def test_what_does_not_fit_is_refused_with_the_figures(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)

    with store(mllm, "full", MLLM_DISK_RESERVE="900TiB"):
        ran = mllm.cli("weights", "install", repo.id, "--store", "full", "--watch")
        wanted = {"hfModelId": repo.id, "store": "full"}
        response = mllm.call("POST", "/weights/install", wanted)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (507, "no_space")
    assert problem["details"]["needed"] == sum(file.size for file in repo.head.files.values())
    assert problem["details"]["reserve"] == 900 << 40
    assert ran.code == 7
    assert f"{900 << 40:,}" in ran.err
    assert f"{problem['details']['needed']:,}" in ran.err
    assert mllm.get("/jobs", model=repo.id)["items"] == []


def test_a_disk_that_fills_up_fails_the_job_and_a_retry_completes_once_there_is_room(
    mllm: System, hub: Hub
) -> None:
    repo = fresh(hub, big=64 * MIB)
    free = shutil.disk_usage(mllm.weights).free
    room = min(free // 8, 4 << 30)  # plenty, for others use the disk meanwhile
    reserve = free - room

    with store(mllm, "filling", MLLM_DISK_RESERVE=str(reserve)) as filling:
        with slowly(hub, MIB // 4):
            job = mllm.install(repo.id, store="filling")["job"]["id"]
            wait(lambda: sent(hub, repo) > PART, lambda: mllm.log("filling"))
            with ballast(mllm.home / "ballast", 2 * room):
                failed = mllm.until(job)
                waited = mllm.cli("jobs", "wait", job)
        assert (failed["status"], failed["code"]) == ("failed", "no_space")
        assert f"{reserve:,} stay so" in failed["reason"]
        assert (waited.code, failed["reason"] in waited.err) == (7, True), waited.err
        wait_until_unknown(mllm, repo.id)
        assert not (filling.weights / "default" / repo.id).exists()

        assert mllm.cli("jobs", "retry", job).code == 0
        done = mllm.until(job)

        assert done["status"] == "completed", done
        assert_installed(filling, repo)
        assert sent(hub, repo) < 64 * MIB + STREAMS * PART


@contextmanager
def ballast(path: Path, size: int) -> Generator[None]:
    """A file that takes room, and no time to write."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    try:
        yield
    finally:
        path.unlink()


def test_weights_in_another_store_are_verified_and_deleted_there(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)

    with store(mllm, "other") as other:
        assert mllm.cli("weights", "install", repo.id, "--store", "other", "--watch").code == 0
        place = assert_installed(other, repo)
        assert mllm.cli("weights", "verify", repo.id, "--watch").code == 0
        deletion = mllm.call("DELETE", "/weights", name=repo.id).json()["job"]

        assert deletion["store"] == "other"
        assert mllm.until(deletion["id"])["status"] == "completed"
        assert not place.exists()


def test_a_manifest_that_was_changed_is_no_proof_of_what_is_there(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)
    mllm.until(mllm.install(repo.id)["job"]["id"])
    place = assert_installed(mllm, repo)
    manifest = manifest_path(place)
    kept = manifests.read(place)
    assert kept is not None
    (place / "config.json").unlink()
    files = tuple(file for file in kept.files if file.path != "config.json")
    manifest.chmod(0o644)
    manifest.write_bytes(manifests.encode(msgspec.structs.replace(kept, files=files)))

    ran = mllm.cli("weights", "verify", repo.id, "--watch")

    assert (ran.code, "manifest" in ran.err) == (6, True), ran.err


def test_weights_that_somebody_removed_are_damaged_until_they_are_brought_again(
    mllm: System, hub: Hub
) -> None:
    repo = fresh(hub)
    mllm.until(mllm.install(repo.id)["job"]["id"])
    shutil.rmtree(assert_installed(mllm, repo))

    ran = mllm.cli("weights", "verify", repo.id, "--watch")
    again = mllm.cli("weights", "install", repo.id, "--watch")

    assert (ran.code, repo.id in ran.err) == (6, True), ran.err
    assert (again.code, "--overwrite" in again.err) == (6, True), again.err
    assert mllm.cli("weights", "install", repo.id, "--overwrite", "--watch").code == 0
    assert_installed(mllm, repo)


def many(mllm: System, hub: Hub, count: int, within: float) -> None:
    """Install so many tiny files, look at them, verify and delete them."""
    name = f"org/many{uuid4().hex[:6]}"
    repo = hub.repos[name] = Repo(name, {f"d{n % 97}/f{n}.txt": b"%d" % n for n in range(count)})
    began = time.monotonic()

    job = mllm.until(mllm.install(name)["job"]["id"], within=within)

    print(f"{count} files in {time.monotonic() - began:.1f} s")
    assert (job["status"], job["filesDone"]) == ("completed", count), job
    assert_installed(mllm, repo)
    listed = mllm.get("/weights/info", name=name)["files"]
    assert {file["path"] for file in listed} == set(repo.head.files)
    parts = mllm.get("/events/log", type="weights.files", correlation=job["correlation"], limit=500)
    files = [file for item in parts["items"] for file in item["data"]["files"]]
    assert len(parts["items"]) > 1
    assert {file["path"] for file in files} == set(repo.head.files)
    for words in (("verify", name), ("delete", name, "--yes")):
        assert mllm.cli("weights", *words, "--watch").code == 0
    assert not (mllm.weights / "default" / name).exists()


def test_five_thousand_files(mllm: System, hub: Hub) -> None:
    many(mllm, hub, 5_000, within=300)


@pytest.mark.chaos
def test_twenty_thousand_files(mllm: System, hub: Hub) -> None:
    many(mllm, hub, 20_000, within=900)


@pytest.fixture
async def private_postgres() -> AsyncGenerator[Server]:
    """A Postgres that this test alone has, and may kill."""
    with TemporaryDirectory(prefix="mllm-postgres-") as home:
        server = await servers.postgres_server(Path(home))
        try:
            await server.start()
            yield server
        finally:
            server.stop()


async def test_without_postgres_installs_cancels_and_live_events_go_on(
    tmp_path: Path, nats_url: str, stream_prefix: str, hub: Hub, private_postgres: Server
) -> None:
    quick, slow = fresh(hub), fresh(hub, big=64 * MIB)
    with system(tmp_path, nats_url, private_postgres.url, stream_prefix, hub.url) as mllm:
        mllm.start()
        private_postgres.kill()
        with events(mllm) as told, slowly(hub, MIB // 4):
            cancelled = mllm.install(slow.id)["job"]["id"]
            wait(lambda: sent(hub, slow) > 0, lambda: mllm.log("processors"))
            assert mllm.call("POST", f"/jobs/{cancelled}/cancel").status_code == 202
            until(told, "job.cancelled", cancelled)
            completed = mllm.install(quick.id)["job"]["id"]
            until(told, "job.completed", completed)
        watched = mllm.cli("weights", "install", fresh(hub).id, "--watch")
        refused = mllm.call("GET", "/jobs")
        await private_postgres.start()

        assert watched.code == 0, watched.err
        assert (refused.status_code, refused.json()["code"]) == (503, "read_models_unavailable")
        assert mllm.until(completed)["status"] == "completed"
        assert mllm.until(cancelled)["status"] == "cancelled"
        assert_installed(mllm, quick)
        await assert_sound(mllm)


@contextmanager
def events(mllm: System) -> Generator[Iterator[Mapping[str, Any]]]:
    """The live events, from now on."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.stream("GET", f"{mllm.url}/events", headers=headers, timeout=PATIENCE) as response:
        assert response.status_code == 200
        data = (line.removeprefix("data:") for line in response.iter_lines() if "data:" in line)
        yield (json.loads(text) for text in data)


def until(told: Iterator[Mapping[str, Any]], type: str, job: str) -> None:
    """Read on until this has happened to the job."""
    for event in told:
        if event["type"] == type and event["data"]["job"] == job:
            return
    raise AssertionError(f"no {type} of {job}")


NOBODY = "0" * 26
NEED_THE_LOG = (
    ("POST", "/weights/install", {"hfModelId": "org/any"}),
    ("POST", "/weights/plan", {"hfModelId": "org/any"}),
    ("POST", "/weights/verify", {"name": "org/any"}),
    ("POST", f"/jobs/{NOBODY}/cancel", None),
    ("GET", f"/jobs/{NOBODY}/logs", None),
    ("GET", "/events/log", None),
    ("GET", "/weights/usage", None),
)


async def test_a_nats_that_stood_still_for_longer_than_the_lease_costs_time_only(
    tmp_path: Path,
    private_nats: Callable[[], Awaitable[Server]],
    database_url: str,
    hub: Hub,
) -> None:
    repo = fresh(hub, big=96 * MIB)
    hub.repos["org/any"] = Repo("org/any", SMALL)
    nats = await private_nats()
    with system(tmp_path / "mllm", nats.url, database_url, "still", hub.url) as mllm:
        lease = float(mllm.env["MLLM_LEASE_SECONDS"])
        mllm.start()
        with slowly(hub, MIB // 4):
            job = mllm.install(repo.id)["job"]["id"]
            wait(lambda: sent(hub, repo) > PART, lambda: mllm.log("processors"))
            nats.signal(SIGSTOP)
            stopped = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                asked = [pool.submit(mllm.call, *request) for request in NEED_THE_LOG]
            assert replace(mllm, newest=0).get("/jobs")["items"]  # as fresh as it happens to be
            wait(lambda: time.monotonic() - stopped > 1.5 * lease, lambda: "no time passes")
            nats.signal(SIGCONT)
        done = mllm.until(job)

        answers = [request.result() for request in asked]
        assert {(a.status_code, a.json()["code"]) for a in answers} == {(503, "log_unavailable")}
        assert (done["status"], done["attempt"] > 1) == ("completed", True), done
        assert mllm.events(job).count("job.completed") == 1
        assert_installed(mllm, repo)
        assert sent(hub, repo) <= 96 * MIB + STREAMS * PART
        await assert_sound(mllm)


async def test_two_of_each_role_do_everything_once(
    tmp_path: Path, nats_url: str, database_url: str, stream_prefix: str, hub: Hub
) -> None:
    repos = [fresh(hub, big=MIB) for _ in range(10)]
    with system(tmp_path, nats_url, database_url, stream_prefix, hub.url) as first:
        first.start()
        second = joined(first)

        def install(number: int) -> str:
            job: str = (first, second)[number % 2].install(repos[number // 2].id)["job"]["id"]
            return job

        with ThreadPoolExecutor(4) as pool:
            jobs = list(pool.map(install, range(2 * len(repos))))
        first.kill("projections")

        assert jobs[::2] == jobs[1::2]
        for job, repo in zip(jobs[::2], repos, strict=True):
            assert second.until(job)["status"] == "completed"
            assert second.events(job).count("job.started") == 1
            assert sent(hub, repo) == MIB
        assert second.get("/jobs") == first.get("/jobs")
        await assert_sound(first)


def joined(first: System) -> System:
    """A second process of each role; the system as seen through the second gateway."""
    ports = [str(port) for port in free_ports(3)]
    names = {"MLLM_PORT": ports[0], "PORT_projections": ports[1], "PORT_processors": ports[2]}
    second = System(first.home, {**first.env, **names})
    second.start()
    first.processes |= {f"second {role}": p for role, p in second.processes.items()}
    return second


def test_where_xet_refuses_the_files_come_over_http_and_the_log_says_so(
    mllm: System, hub: Hub
) -> None:
    name = f"org/xet{uuid4().hex[:6]}"
    files: dict[str, Source] = {**SMALL, "model.safetensors": generated(20 * MIB, uuid4().int)}
    repo = hub.repos[name] = Repo(name, files, About(xet=True))
    refused = hub.faults.add(Refuse(kinds={"xet"}, status=403))

    with store(mllm, "xet", MLLM_XET="auto") as xet:
        job = mllm.until(mllm.install(name, store="xet")["job"]["id"])
        said = mllm.cli("jobs", "logs", job["id"]).out
        refused.disarm()

        assert job["status"] == "completed", job
        assert_installed(xet, repo)
    assert refused.strikes > 0
    assert "Xet: refused" in said
    assert "fetching 1 of 1 Xet files over HTTP instead" in said
