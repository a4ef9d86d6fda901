"""Xet storage is used where it works; a child that hangs, dies or lies costs nothing but time."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from cli.loopback_hub import Source
from processors.fetch.errors import Stopped
from processors.fetch.xet import Xet
from processors.fetch.xet_lines import Order, Ordered
from tests.hub import About, Account, Hang, Hub, Repo, generated
from tests.processors.fetch.fetching import MIB, REPO, Fetch, hashes, published, until
from tests.support import PATIENCE

BIG = "model.safetensors"
TOKEN = "hf_of_ann"
FILES: dict[str, Source] = {"config.json": b"{}", BIG: generated(40 * MIB)}


@pytest.fixture
def hub() -> Iterator[Hub]:
    repo = Repo(REPO, FILES, About(xet=True))
    with Hub(repo, accounts=[Account("ann", TOKEN)]) as hub:
        yield hub


def child(program: str) -> tuple[str, ...]:
    """A Xet child that does something else than it should."""
    return (sys.executable, "-c", f"import json, os, sys, time\n{program}")


@pytest.fixture
def born() -> Callable[[], set[psutil.Process]]:
    """Processes of ours that this test began: servers of other tests may run beside them."""
    before = set(psutil.Process().children())
    return lambda: set(psutil.Process().children()) - before


def test_files_in_xet_storage_are_had_from_there(hub: Hub, tmp_path: Path) -> None:
    fetch = Fetch(hub, tmp_path / "1", token=TOKEN, xet=Xet())

    fetch.run()

    assert hashes(tmp_path / "1") == published(hub)
    assert hub.recording.select("xorb")
    assert not hub.recording.select("cdn")
    assert fetch.said == []
    seen = fetch.fetcher.progress.snapshot()
    assert (seen.done, seen.files_done) == (40 * MIB + 2, 2)
    assert seen.network >= 40 * MIB
    assert not (tmp_path / "1" / "xet").exists()


HANGS = "time.sleep(600)"
HANGS_HALFWAY = """
order = json.loads(sys.stdin.readline())
open(order["files"][0]["destination"], "wb").write(b"half")
print(json.dumps(["wrote", 4]), flush=True)
time.sleep(600)
"""
DIES = "os.kill(os.getpid(), 9)"
REFUSES = """print(json.dumps(["refused", "NotToday"]), flush=True); time.sleep(600)"""
BABBLES = """print("Downloading...", flush=True); time.sleep(600)"""
EATS = """hoard = bytearray(200 << 20); time.sleep(600)"""
LIES = """
for file in json.loads(sys.stdin.readline())["files"]:
    open(file["destination"], "wb").write(b"x" * file["size"])
    print(json.dumps(["whole", file["path"]]), flush=True)
"""


@pytest.mark.parametrize(
    ("program", "reason", "stall"),
    [
        (HANGS, r"has done nothing for \d+s", 1),
        (HANGS_HALFWAY, r"has done nothing for \d+s", 1),
        (DIES, "ended with status -9", 600),
        (REFUSES, "refused: NotToday", 600),
        (BABBLES, "does not speak our language", 600),
        (EATS, "takes more than 100 MiB", 600),
        (LIES, f"{BIG} has the wrong hash", 600),
        ("raise SystemExit(3)", "ended with status 3", 600),
    ],
)
def test_a_child_that_fails_is_replaced_by_http(
    hub: Hub,
    tmp_path: Path,
    born: Callable[[], set[psutil.Process]],
    program: str,
    reason: str,
    stall: float,
) -> None:
    xet = Xet(child(program), stall=stall, memory=100 * MIB)
    fetch = Fetch(hub, tmp_path / "1", xet=xet)

    fetch.run()

    assert hashes(tmp_path / "1") == published(hub)
    assert hub.recording.sent(BIG) == 40 * MIB
    assert re.search(reason, fetch.said[0])
    assert fetch.said[1] == "fetching 1 of 1 Xet files over HTTP instead"
    assert fetch.fetcher.progress.snapshot().done == 40 * MIB + 2
    assert not born()


def test_the_token_is_handed_over_where_nobody_can_read_it(hub: Hub, tmp_path: Path) -> None:
    tell = tmp_path / "told"
    program = f"""
told = [sys.stdin.readline(), sys.argv, dict(os.environ)]
json.dump(told, open({str(tell)!r}, "w"))
"""

    Fetch(hub, tmp_path / "1", token=TOKEN, xet=Xet(child(program))).run()

    order, rest = tell.read_text().split(r"\n", 1)
    assert TOKEN in order
    assert TOKEN not in rest


def test_a_child_inherits_no_secret(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_SECRET_KEY", "hush")
    monkeypatch.setenv("HF_TOKEN", "hush")
    tell = tmp_path / "told"
    program = f"json.dump(dict(os.environ), open({str(tell)!r}, 'w'))"

    Fetch(hub, tmp_path / "1", xet=Xet(child(program))).run()

    assert "hush" not in tell.read_text()
    assert "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_LIMIT" in tell.read_text()


def test_a_stop_kills_the_child(
    hub: Hub, tmp_path: Path, born: Callable[[], set[psutil.Process]]
) -> None:
    fetch = Fetch(hub, tmp_path / "1", xet=Xet(child(HANGS), stall=600))
    running = fetch.start()
    until(lambda: bool(born()))

    fetch.fetcher.stop("enough")
    with pytest.raises(Stopped):
        running.result(PATIENCE)

    assert not born()


PARENT = """
import subprocess, sys, time
command = [sys.executable, "-m", "processors.fetch.xet_child"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
child.stdin.write(sys.argv[1].encode() + b"\\n")
child.stdin.flush()
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_child_does_not_outlive_its_parent(hub: Hub, tmp_path: Path) -> None:
    hang = hub.faults.add(Hang(kinds={"resolve"}))
    file = Ordered(BIG, 40 * MIB, str(tmp_path / "0"))
    order = Order(hub.url, REPO, hub.repos[REPO].head.sha, TOKEN, (file,))
    words = [sys.executable, "-c", PARENT, msgspec.json.encode(order).decode()]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        try:
            until(lambda: hang.strikes > 0)
        finally:
            parent.kill()

    until(lambda: gone(child))


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two looks
        return True


def test_files_too_small_or_not_in_xet_storage_come_over_http(tmp_path: Path) -> None:
    files: dict[str, Source] = {"a.safetensors": generated(MIB), "b.json": b"{}"}
    with Hub(Repo(REPO, files, About(xet=True))) as hub:
        Fetch(hub, tmp_path / "1", xet=Xet(child(DIES))).run()

        assert hashes(tmp_path / "1") == published(hub)


def test_http_goes_on_while_the_child_is_at_work(hub: Hub, tmp_path: Path) -> None:
    fetch = Fetch(hub, tmp_path / "1", xet=Xet(child(HANGS), stall=600))
    running = fetch.start()

    until(lambda: fetch.fetcher.progress.snapshot().files_done == 1)

    fetch.fetcher.stop("seen enough")
    with pytest.raises(Stopped):
        running.result(PATIENCE)
