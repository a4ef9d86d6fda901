"""What could not be written is never vouched for."""

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from processors.fetch import journal, owner
from processors.fetch.errors import Fenced, Halted, Stopped
from processors.fetch.gate import Gate
from processors.fetch.hashing import Window
from processors.fetch.incoming import Incoming
from processors.fetch.progress import Progress
from processors.fetch.staging import Staging
from processors.fetch.stream import Shelf
from schemas.plan import PlannedFile
from tests.processors.fetch.fetching import MIB, always

FILE = PlannedFile("model.safetensors", 8 * MIB, "sha256", "0" * 64)


class FullDisk(Incoming):
    """A file on a disk with room for a megabyte."""

    def write(self, start: int, chunks: Sequence[bytes]) -> None:
        if start >= MIB:
            raise OSError(errno.ENOSPC, "no space left on device")
        super().write(start, chunks)


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path, [FILE], Gate(always))


def put_all(shelf: Shelf) -> None:
    for start in range(0, 4 * MIB, 100_000):
        shelf.put(start, bytes(100_000))


def vouched(directory: Path) -> list[tuple[int, int]]:
    return list(journal.read(directory / "journal", owner.current().boot).files[FILE.path].spans)


def test_what_could_not_be_written_is_not_vouched_for(staging: Staging, tmp_path: Path) -> None:
    incoming = FullDisk(FILE, staging, Progress(), Window(0), parted=True)
    incoming.open()
    shelf = Shelf(incoming)

    with pytest.raises(OSError, match="no space"):
        put_all(shelf)
    shelf.close()

    [(start, end)] = vouched(tmp_path)
    assert (start, end) == (0, incoming.missing(0, FILE.size)[0][0])
    assert end <= MIB + 300_000


def test_what_has_arrived_when_the_fetch_is_stopped_is_kept(
    staging: Staging, tmp_path: Path
) -> None:
    incoming = Incoming(FILE, staging, Progress(), Window(0), parted=True)
    incoming.open()
    shelf = Shelf(incoming)
    shelf.put(0, bytes(100_000))

    staging.gate.close(Stopped("paused by ann"))
    with pytest.raises(Halted):  # it hashes no more
        shelf.close()

    assert vouched(tmp_path) == [(0, 100_000)]


def test_nothing_is_kept_by_who_has_lost_the_lease(tmp_path: Path) -> None:
    lost: list[Fenced] = []

    def fence() -> None:
        for reason in lost:
            raise reason

    gate = Gate(fence)
    staging = Staging(tmp_path, [FILE], gate)
    incoming = Incoming(FILE, staging, Progress(), Window(0), parted=True)
    incoming.open()
    shelf = Shelf(incoming)
    shelf.put(0, b"a" * 100)
    gate.close(Stopped("paused by ann"))
    lost.append(Fenced("another attempt has begun"))

    with pytest.raises(Halted):
        shelf.close()

    assert vouched(tmp_path) == []
    assert not any((tmp_path / "files" / FILE.path).read_bytes())


def test_chunks_that_do_not_follow_one_another_are_kept_apart(
    staging: Staging, tmp_path: Path
) -> None:
    incoming = Incoming(FILE, staging, Progress(), Window(0), parted=True)
    incoming.open()
    shelf = Shelf(incoming)

    assert shelf.put(0, b"a" * 10)
    assert shelf.put(20, b"b" * 10)
    shelf.close()
    assert vouched(tmp_path) == [(0, 10), (20, 30)]

    assert shelf.put(5, b"c" * 20)  # of this, what is there already stays as it is
    shelf.close()
    assert not shelf.put(0, b"d" * 30)
    shelf.close()
    assert vouched(tmp_path) == [(0, 30)]
    content = (tmp_path / "files" / FILE.path).read_bytes()
    assert content[:30] == b"a" * 10 + b"c" * 10 + b"b" * 10
    incoming.close()
