"""A journal tells the truth, and stops where it cannot."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from processors.fetch import journal, owner
from processors.fetch.journal import Begun, Closed, Done, Gone, Have, Journal, Line, Synced, encode
from schemas.plan import PlannedFile

HERE = owner.current()
ELSEWHERE = msgspec.structs.replace(HERE, boot="another")
BIG = PlannedFile("big.bin", 100, "sha256", "0" * 64)
SMALL = PlannedFile("small.txt", 3, "blob-sha1", "1" * 40)


def written(path: Path, *lines: Line) -> journal.Memory:
    """What a journal of these lines says to us."""
    record = Journal(path / "journal")
    for line in lines:
        record.append(line)
    record.close()
    return journal.read(path / "journal", HERE.boot)


def test_what_was_written_is_remembered(tmp_path: Path) -> None:
    memory = written(tmp_path, HERE, Begun(0, BIG), Have(0, 10, 20), Have(0, 0, 10), Done(SMALL))

    assert memory.owner == HERE
    assert list(memory.files["big.bin"].spans) == [(0, 20)]
    assert not memory.files["big.bin"].done
    assert memory.files["small.txt"].done
    assert not memory.closed


def test_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    lines = (HERE, Begun(0, BIG), Have(0, 0, 9), Done(SMALL), Gone("big.bin"), Gone("small.txt"))

    assert written(tmp_path, *lines).files == {}


def test_a_file_begun_anew_has_nothing_of_what_it_had(tmp_path: Path) -> None:
    memory = written(tmp_path, HERE, Begun(0, BIG), Have(0, 0, 9), Begun(1, BIG), Have(1, 50, 60))

    assert list(memory.files["big.bin"].spans) == [(50, 60)]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_no_line(tmp_path: Path, cut: int) -> None:
    written(tmp_path, HERE, Begun(0, BIG), Have(0, 0, 50), Have(0, 50, 60))
    path = tmp_path / "journal"
    os.truncate(path, path.stat().st_size - cut)

    memory = journal.read(path, HERE.boot)

    assert list(memory.files["big.bin"].spans) == [(0, 50)]


def test_reading_ends_at_the_first_line_that_is_damaged(tmp_path: Path) -> None:
    lines: list[Line] = [HERE, Begun(0, BIG), Have(0, 0, 50), Have(0, 50, 60)]
    raw = [encode(line) for line in lines]
    raw[2] = raw[2].replace(b"50", b"90")
    (tmp_path / "journal").write_bytes(b"".join(raw))

    memory = journal.read(tmp_path / "journal", HERE.boot)

    assert list(memory.files["big.bin"].spans) == []


def test_after_a_reboot_only_what_was_flushed_counts(tmp_path: Path) -> None:
    head: list[Line] = [ELSEWHERE, Begun(0, BIG), Have(0, 0, 50)]
    flushed = sum(len(encode(line)) for line in head)

    memory = written(tmp_path, *head, Have(0, 50, 60), Synced(flushed), Have(0, 60, 70), Closed())

    assert list(memory.files["big.bin"].spans) == [(0, 50)]
    assert memory.closed


def test_after_a_reboot_nothing_counts_that_was_never_flushed(tmp_path: Path) -> None:
    memory = written(tmp_path, ELSEWHERE, Begun(0, BIG), Have(0, 0, 50))

    assert memory.files == {}
    assert memory.owner == ELSEWHERE


def test_the_last_owner_counts_and_the_first_boot(tmp_path: Path) -> None:
    memory = written(tmp_path, ELSEWHERE, Begun(0, BIG), Have(0, 0, 50), Closed(), HERE)

    assert (memory.owner, memory.closed) == (HERE, False)
    assert memory.files == {}


def test_no_journal_says_nothing(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "journal", HERE.boot) == journal.Memory()


def test_a_closed_journal_takes_no_line(tmp_path: Path) -> None:
    record = Journal(tmp_path / "journal")
    record.close()

    with pytest.raises(OSError, match="closed"):
        record.append(Closed())


def test_a_running_process_is_not_dead() -> None:
    assert not owner.proven_dead(HERE)


def test_a_process_that_ended_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = owner.started(process.pid)
        assert started is not None
        other = msgspec.structs.replace(HERE, pid=process.pid, started=started)
        assert not owner.proven_dead(other)
        process.kill()

    assert owner.proven_dead(other)


def test_a_pid_that_belongs_to_another_process_now_is_dead() -> None:
    assert owner.proven_dead(msgspec.structs.replace(HERE, started=HERE.started - 1))


@pytest.mark.parametrize(
    "unknown",
    [
        msgspec.structs.replace(HERE, pid=2**22, pid_space="pid:[1]"),  # another container
        msgspec.structs.replace(HERE, pid=2**22, boot="another", machine="other@host"),
        msgspec.structs.replace(HERE, pid=2**22, boot=""),
        msgspec.structs.replace(HERE, boot="another", pid_space="pid:[1]"),
    ],
)
def test_a_process_somewhere_else_may_be_alive(unknown: owner.Owner) -> None:
    assert not owner.proven_dead(unknown)
