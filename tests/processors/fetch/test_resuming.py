"""Killed at any moment, an attempt loses little; its successor shares no file with a live one."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from cli.loopback_hub import Source
from processors.fetch import journal, owner, takeover
from processors.fetch.errors import Fenced, Stopped
from processors.fetch.journal import Begun, Done, Have, Journal, Synced
from processors.fetch.layout import Layout, content
from processors.fetch.limits import Limits
from schemas.plan import PlannedFile
from tests.hub import Hub, HubSettings, Repo, Stall, generated
from tests.processors.fetch.fetching import (
    MIB,
    REPO,
    Fetch,
    always,
    hashes,
    planned,
    published,
    until,
)
from tests.support import PATIENCE

Start: TypeAlias = Callable[..., "subprocess.Popen[bytes]"]

BIG = "model.safetensors"
HELD = Stall(path=BIG, after=2 * MIB, times=4)  # what each of four streams gets of its first part
STREAMS = 16
PART = 4 * MIB


@pytest.fixture
def hub() -> Iterator[Hub]:
    files: dict[str, Source] = {"config.json": b'{"a": 1}', BIG: generated(24 * MIB)}
    with Hub(Repo(REPO, files)) as hub:
        yield hub


@pytest.fixture
def attempt(tmp_path: Path) -> Iterator[Start]:
    """Starts attempts in processes of their own: with a hub, a directory and earlier ones."""
    listing = tmp_path / "listing.json"
    started: list[subprocess.Popen[bytes]] = []

    def start(
        hub: Hub, directory: Path, *earlier: Path, streams: int = 4
    ) -> subprocess.Popen[bytes]:
        words = [hub.url, REPO, hub.repos[REPO].head.sha, streams, directory, *earlier]
        listing.write_bytes(msgspec.json.encode(planned(hub)))
        with listing.open("rb") as files:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.processors.fetch.once", *map(str, words)],
                stdin=files,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def sent_or_over(hub: Hub, size: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether so much has left. Whoever looks late may find that it has all been fetched."""
    return hub.recording.sent() >= size or process.poll() is not None


def killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_moments_it_fetches_at_most_a_part_a_stream_again(
    attempt: Start, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    files = {f"{number}.safetensors": generated(32 * MIB, seed=number) for number in range(3)}
    settings = HubSettings(bytes_per_second=6 * MIB)
    with Hub(Repo(REPO, files), settings=settings) as hub:
        directories = [tmp_path / str(number) for number in range(1, 4)]
        for number, directory in enumerate(directories[:2]):
            before = hub.recording.sent()
            victim = attempt(hub, directory, *reversed(directories[:number]), streams=STREAMS)
            goal = before + chance.randrange(1, 40 * MIB)
            until(partial(sent_or_over, hub, goal, victim))
            killed(victim)

        last = attempt(hub, *reversed(directories), streams=STREAMS)
        assert last.communicate(timeout=PATIENCE)[0] == b"done\n"

        assert hashes(directories[2]) == published(hub)
        again = hub.recording.sent() - 96 * MIB
        assert again <= 2 * STREAMS * PART
        assert not directories[0].exists()
        assert not directories[1].exists()


def test_the_attempt_of_a_dead_process_is_taken_over_without_copying(
    hub: Hub, attempt: Start, tmp_path: Path
) -> None:
    hub.faults.add(HELD)
    victim = attempt(hub, tmp_path / "1")
    until(lambda: held(hub, tmp_path / "1"))
    killed(victim)
    kept = known(tmp_path / "1")
    inode = (content(tmp_path / "1") / BIG).stat().st_ino

    Fetch(hub, tmp_path / "2").run(tmp_path / "1")

    assert (content(tmp_path / "2") / BIG).stat().st_ino == inode
    assert hashes(tmp_path / "2") == published(hub)
    assert hub.recording.sent(BIG) == 8 * MIB + 24 * MIB - kept
    assert not (tmp_path / "1").exists()


def known(directory: Path) -> int:
    """Bytes of the big file that the journal of a staging directory vouches for."""
    memory = journal.read(directory / "journal", owner.current().boot)
    return memory.files[BIG].spans.covered if BIG in memory.files else 0


def held(hub: Hub, directory: Path) -> bool:
    """Whether four streams have got all that they will get."""
    return hub.recording.sent(BIG) == 8 * MIB and known(directory) >= 4 * MIB


def test_a_paused_process_finds_nothing_of_its_successors_in_its_hands(
    hub: Hub, attempt: Start, tmp_path: Path
) -> None:
    stall = hub.faults.add(HELD)
    zombie = attempt(hub, tmp_path / "1")
    until(lambda: held(hub, tmp_path / "1"))
    zombie.send_signal(signal.SIGSTOP)
    kept = known(tmp_path / "1")
    late = os.open(content(tmp_path / "1") / BIG, os.O_RDWR)  # as the paused process has it

    Fetch(hub, tmp_path / "2").run(tmp_path / "1")

    assert hub.recording.sent(BIG) == 8 * MIB + 24 * MIB - kept
    os.pwrite(late, b"late" * MIB, 0)
    os.close(late)
    assert hashes(tmp_path / "2") == published(hub)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "2").rglob("*")}
    stall.disarm()
    zombie.send_signal(signal.SIGCONT)
    zombie.communicate(timeout=PATIENCE)  # it goes on to its end, having no lease to lose
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "2").rglob("*")} == before
    assert not (tmp_path / "1").exists()


def test_nobody_works_in_a_directory_where_another_process_may_be_at_work(
    hub: Hub, attempt: Start, tmp_path: Path
) -> None:
    hub.faults.add(Stall(path=BIG))
    attempt(hub, tmp_path / "1")
    until(lambda: (tmp_path / "1" / "journal").exists())

    with pytest.raises(Fenced):
        Fetch(hub, tmp_path / "1").run()


def test_an_attempt_that_ended_in_this_process_is_taken_over_without_copying(
    hub: Hub, tmp_path: Path
) -> None:
    hub.faults.add(HELD)
    first = Fetch(hub, tmp_path / "1", limits=Limits(streams=4, reserve=0))
    running = first.start()
    until(lambda: held(hub, tmp_path / "1"))
    first.fetcher.stop("enough")
    with pytest.raises(Stopped):
        running.result(PATIENCE)
    kept = known(tmp_path / "1")
    inode = (content(tmp_path / "1") / BIG).stat().st_ino

    Fetch(hub, tmp_path / "2").run(tmp_path / "1")

    assert hub.recording.sent(BIG) == 8 * MIB + 24 * MIB - kept
    assert (content(tmp_path / "2") / BIG).stat().st_ino == inode


def test_after_a_crash_of_the_machine_only_what_was_flushed_counts(
    hub: Hub, tmp_path: Path
) -> None:
    [_, big] = planned(hub)
    directory = tmp_path / "1"
    content(directory).mkdir(parents=True)
    body = hub.repos[REPO].head.files[BIG].content
    assert isinstance(body, Path)
    flushed = bytearray(body.read_bytes())
    flushed[8 * MIB : 16 * MIB] = bytes(8 * MIB)  # journaled, but lost in the crash
    (content(directory) / BIG).write_bytes(flushed)
    record = Journal(directory / "journal")
    record.append(replaced_boot("another"))
    record.append(Begun(0, big))
    record.append(Have(0, 0, 8 * MIB))
    record.append(Synced(record.offset))
    record.append(Have(0, 8 * MIB, 16 * MIB))
    record.append(Done(planned(hub)[0]))
    record.append(journal.Closed())
    record.close()

    Fetch(hub, tmp_path / "2").run(directory)

    assert hub.recording.sent(BIG) == 16 * MIB
    assert hashes(tmp_path / "2") == published(hub)


def replaced_boot(boot: str) -> owner.Owner:
    return msgspec.structs.replace(owner.current(), boot=boot)


def test_a_file_that_has_changed_at_the_hub_is_fetched_anew(hub: Hub, tmp_path: Path) -> None:
    Fetch(hub, tmp_path / "1").run()
    hub.repos[REPO].push({"config.json": b'{"a": 2}'})
    asked = len(hub.recording.exchanges)

    Fetch(hub, tmp_path / "2").run(tmp_path / "1")

    assert hashes(tmp_path / "2") == published(hub)
    assert {e.path for e in hub.recording.exchanges[asked:]} == {"config.json"}


def test_what_nobody_wants_any_more_is_removed(hub: Hub, tmp_path: Path) -> None:
    Fetch(hub, tmp_path / "1").run()
    stray = content(tmp_path / "1") / "deep" / "stray"
    stray.parent.mkdir()
    stray.write_bytes(b"of unknown origin")

    Fetch(hub, tmp_path / "2").fetcher.run(planned(hub)[:1], [tmp_path / "1"])

    assert set(hashes(tmp_path / "2")) == {"config.json"}
    assert not (content(tmp_path / "2") / "deep").exists()


def test_the_attempts_before_are_found_newest_first(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    job = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    for name in ("1", "2.taken", "3", "10", "other"):
        (layout.job("default", job) / name).mkdir(parents=True)

    found = [path.name for path in layout.earlier("default", job, 10)]

    assert found == ["3", "2.taken", "1"]


def test_whoever_takes_over_is_never_taken_for_its_dead_predecessor(tmp_path: Path) -> None:
    directory = tmp_path / "1"
    directory.mkdir()
    record = Journal(directory / "journal")
    record.append(msgspec.structs.replace(owner.current(), started=1))
    record.append(Done(PlannedFile("a", 1, "sha256", "0" * 64)))
    record.close()
    os.truncate(directory / "journal", record.offset - 5)  # the last line is torn

    takeover.inherit([directory], tmp_path / "2", always)

    memory = journal.read(tmp_path / "2" / "journal", owner.current().boot)
    assert memory.owner == owner.current()
    assert not directory.exists()


def test_a_directory_without_a_journal_may_be_anybodys(tmp_path: Path) -> None:
    content(tmp_path / "1").mkdir(parents=True)

    takeover.inherit([tmp_path / "1"], tmp_path / "2", always)

    assert (tmp_path / "1").exists()
