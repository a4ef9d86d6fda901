"""Installing weights, as a user sees it: the CLI, the HTTP API, and the files on the disk."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from cli.loopback_hub.repository import Source
from tests.hub import About, Cut, Garble, Hub, IgnoreRange, Refuse, Repo, Slow, Stall, generated
from tests.hub.arming import Fault
from tests.hub.faults import EVIL_NAMES
from tests.system import System, wait

MIB = 1 << 20
SMALL = {"config.json": b"{}", "nested/deep/a.txt": b"a", "empty.txt": b""}


def fresh(hub: Hub, big: int = 3 * MIB, **files: bytes) -> Repo:
    """A repository of its own on the Hub, with one file large enough to be worth faults."""
    name = f"org/m{uuid4().hex[:8]}"
    weights = generated(big, uuid4().hex)
    content: dict[str, Source] = {**SMALL, "model.safetensors": weights, **files}
    repo = hub.repos[name] = Repo(name, content)
    return repo


def assert_installed(mllm: System, repo: Repo, target: str | None = None) -> Path:
    """The files in the target are those that the Hub has at its newest commit."""
    place = mllm.weights / "default" / (target or repo.id)
    manifest = json.loads((place / ".mllm" / "manifest.json").read_text())
    for file in manifest["files"]:
        content = (place / file["path"]).read_bytes()
        if file["algorithm"] == "sha256":
            assert hashlib.sha256(content).hexdigest() == file["digest"]
        else:
            blob = b"blob %d\0" % len(content) + content
            assert hashlib.sha1(blob).hexdigest() == file["digest"]
    assert {file["path"] for file in manifest["files"]} == set(repo.head.files)
    return place


def wait_until_unknown(mllm: System, name: str) -> None:
    """Wait until there are no weights of this name: a claim ends a moment after its job."""

    def info() -> httpx.Response:
        return mllm.call("GET", "/weights/info", name=name)

    wait(lambda: info().status_code == 404, lambda: info().text)


def test_install_watch_ends_with_the_files_in_place_and_exit_0(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)

    ran = mllm.cli("weights", "install", repo.id, "--watch")

    assert ran.code == 0, ran.err
    assert_installed(mllm, repo)
    assert f"{repo.id} " in mllm.cli("weights", "list").out


def test_the_whole_life_of_weights_by_the_command_line(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)
    assert mllm.cli("weights", "plan", repo.id).code == 0
    assert mllm.cli("weights", "install", repo.id, "--target", "mine", "--watch").code == 0

    assert mllm.cli("weights", "verify", "mine", "--watch").code == 0
    assert repo.id in mllm.cli("weights", "info", "mine").out
    assert mllm.cli("weights", "delete", "mine", "--yes", "--watch").code == 0

    assert mllm.cli("weights", "info", "mine").code == 3
    assert not (mllm.weights / "default" / "mine").exists()


def test_corruption_is_found_named_and_exits_6(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)
    mllm.until(mllm.install(repo.id)["job"]["id"])
    file = mllm.weights / "default" / repo.id / "model.safetensors"
    file.chmod(0o644)
    with file.open("r+b") as content:
        content.write(b"?")

    ran = mllm.cli("weights", "verify", repo.id, "--watch")

    assert ran.code == 6
    assert "model.safetensors" in ran.err
    assert mllm.get("/weights/info", name=repo.id)["weights"]["status"] == "corrupted"


def test_the_same_content_asked_for_at_once_is_one_job_and_one_download(
    mllm: System, hub: Hub
) -> None:
    repo = fresh(hub)

    with ThreadPoolExecutor(8) as pool:
        jobs = {job["job"]["id"] for job in pool.map(mllm.install, [repo.id] * 8)}

    assert len(jobs) == 1
    mllm.until(jobs.pop())
    assert hub.recording.sent("model.safetensors") >= 3 * MIB
    fetched = [e for e in hub.recording.select("cdn") if e.repo == repo.id]
    assert sum(exchange.sent for exchange in fetched) == 3 * MIB


def test_asking_again_once_installed_answers_with_the_same_job(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)
    first = mllm.install(repo.id)["job"]["id"]
    mllm.until(first)

    assert mllm.install(repo.id)["job"]["id"] == first


def test_other_content_for_a_busy_target_is_a_conflict(mllm: System, hub: Hub) -> None:
    slow, other = fresh(hub), fresh(hub)
    target = f"t{uuid4().hex[:6]}"
    slowed = hub.faults.add(Slow(bytes_per_second=1000, path="model.safetensors"))
    job = mllm.install(slow.id, target=target)["job"]["id"]

    response = mllm.call("POST", "/weights/install", {"hfModelId": other.id, "target": target})
    ran = mllm.cli("weights", "install", other.id, "--target", target)

    assert response.status_code == 409
    assert response.json()["code"] == "conflict"
    assert response.json()["details"]["job"] == job
    assert ran.code == 5
    mllm.call("POST", f"/jobs/{job}/cancel")
    slowed.disarm()
    mllm.until(job)


@pytest.mark.parametrize(
    ("repo", "words", "code", "says"),
    [
        ("org/nothing", (), 3, "org/nothing"),
        ("org/known", ("--revision", "v9"), 3, "revision"),
        ("org/gated", (), 4, "/org/gated"),
        ("org/private", (), 3, "--token-secret"),
    ],
)
def test_what_is_known_at_once_is_refused_at_once(
    mllm: System, hub: Hub, repo: str, words: tuple[str, ...], code: int, says: str
) -> None:
    hub.repos["org/known"] = Repo("org/known", SMALL)
    hub.repos["org/gated"] = Repo("org/gated", SMALL, About(gated="manual"))
    hub.repos["org/private"] = Repo("org/private", SMALL, About(private=True))
    jobs = len(mllm.get("/jobs", model=repo)["items"])

    ran = mllm.cli("weights", "install", repo, *words, "--watch")

    assert (ran.code, says in ran.err) == (code, True), ran.err
    assert len(mllm.get("/jobs", model=repo)["items"]) == jobs


def test_a_token_by_secret_name_installs_what_is_gated(mllm: System, hub: Hub) -> None:
    hub.repos["org/gated"] = Repo("org/gated", SMALL, About(gated="manual"))
    assert mllm.call("PUT", "/secrets/hub", {"value": "hf_right"}).is_success

    ran = mllm.cli(
        "weights", "install", "org/gated", "--target", "g", "--token-secret", "hub", "--watch"
    )

    assert ran.code == 0, ran.err
    assert not any(e.authorization for e in hub.recording.select("cdn"))
    assert "hf_right" not in json.dumps(mllm.get("/events/log", limit=500))


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_repository_with_an_evil_file_name_installs_nothing(
    mllm: System, hub: Hub, name: str
) -> None:
    repo = f"org/evil{uuid4().hex[:6]}"
    hub.repos[repo] = Repo(repo, {"a.json": b"{}", name: b"x"})

    response = mllm.call("POST", "/weights/install", {"hfModelId": repo})

    assert (response.status_code, response.json()["code"]) == (422, "unsafe_path")


@pytest.mark.parametrize("target", ["..", "a/..", "/etc", "a/b/c", ".mllm", "a//b", "a\0b", "-"])
def test_a_target_that_escapes_is_refused(mllm: System, hub: Hub, target: str) -> None:
    repo = fresh(hub)

    response = mllm.call("POST", "/weights/install", {"hfModelId": repo.id, "target": target})

    assert 400 <= response.status_code < 500


def test_targets_do_not_nest(mllm: System, hub: Hub) -> None:
    outer, org = f"o{uuid4().hex[:6]}", f"o{uuid4().hex[:6]}"
    for target in (outer, f"{org}/inner"):
        mllm.until(mllm.install(fresh(hub).id, target=target)["job"]["id"])

    for target in (f"{outer}/inner", org):
        body = {"hfModelId": fresh(hub).id, "target": target}
        refused = mllm.call("POST", "/weights/install", body)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert mllm.get("/jobs", target=target)["items"] == []


def test_overwriting_replaces_the_old_weights_in_one_step(mllm: System, hub: Hub) -> None:
    old, new = fresh(hub), fresh(hub)
    target = f"t{uuid4().hex[:6]}"
    mllm.until(mllm.install(old.id, target=target)["job"]["id"])
    refused = mllm.call("POST", "/weights/install", {"hfModelId": new.id, "target": target})

    job = mllm.until(mllm.install(new.id, target=target, overwrite=True)["job"]["id"])

    assert refused.status_code == 409
    assert job["status"] == "completed"
    assert_installed(mllm, new, target)


def test_main_may_move_while_a_job_runs_and_one_commit_is_installed(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)
    slowed = hub.faults.add(Slow(bytes_per_second=1000, path="model.safetensors"))
    accepted = mllm.install(repo.id)
    mllm.until(accepted["job"]["id"], "running")
    first = repo.head.sha
    repo.push({"config.json": b'{"moved": true}'})
    slowed.disarm()

    job = mllm.until(accepted["job"]["id"])

    assert (job["status"], job["commit"]) == ("completed", first)
    place = mllm.weights / "default" / repo.id
    assert (place / "config.json").read_bytes() == b"{}"


def test_six_hundred_small_files(mllm: System, hub: Hub) -> None:
    name = f"org/many{uuid4().hex[:6]}"
    repo = hub.repos[name] = Repo(name, {f"d{n % 7}/f{n}.txt": b"%d" % n for n in range(600)})

    job = mllm.until(mllm.install(name)["job"]["id"])

    assert (job["status"], job["filesDone"]) == ("completed", 600)
    assert_installed(mllm, repo)
    assert len(mllm.get("/weights/info", name=name)["files"]) == 600


@pytest.mark.parametrize(
    "fault",
    [
        Cut(path="model.safetensors", times=20, after=(1, MIB)),
        Refuse(path="model.safetensors", times=2, status=429, retry_after=1),
        Refuse(path="model.safetensors", times=5, status=503),
        IgnoreRange(path="model.safetensors"),
        Stall(path="model.safetensors", times=1, after=100_000),
        Garble(path="model.safetensors", times=1),
    ],
    ids=["cut", "429", "503", "no-range", "stall", "wrong-once"],
)
def test_what_networks_do_is_survived(mllm: System, hub: Hub, fault: Fault) -> None:
    repo = fresh(hub, big=9 * MIB)
    armed = hub.faults.add(fault)

    job = mllm.until(mllm.install(repo.id)["job"]["id"])

    armed.disarm()
    assert job["status"] == "completed", job
    assert armed.strikes > 0
    assert_installed(mllm, repo)


def test_wrong_bytes_fail_the_job_by_name_and_nothing_is_installed(mllm: System, hub: Hub) -> None:
    repo = fresh(hub)
    armed = hub.faults.add(Garble(path="model.safetensors"))

    ran = mllm.cli("weights", "install", repo.id, "--watch")

    armed.disarm()
    assert ran.code == 6
    assert "model.safetensors" in ran.err
    wait_until_unknown(mllm, repo.id)
    assert not (mllm.weights / "default" / repo.id).exists()
