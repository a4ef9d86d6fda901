"""Hashes of files: the Hub's two kinds, and hashing in order what arrives out of order."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

STEP = 1 << 20


class Hash(Protocol):
    """What hashlib gives."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


def new_hash(algorithm: str, size: int) -> Hash:
    """A hash to be fed `size` bytes. A git blob's begins with its size. Raises ValueError."""
    match algorithm:
        case "sha256":
            return hashlib.sha256()
        case "blob-sha1":
            return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        case _:
            raise ValueError(f"no such hash: {algorithm}")


class Window:
    """The memory that all files of a fetch share for bytes that wait to be hashed."""

    def __init__(self, size: int) -> None:
        self._room = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Reserve `size` bytes, if there is room."""
        with self._lock:
            fits = size <= self._room
            self._room -= size if fits else 0
            return fits

    def give_back(self, size: int) -> None:
        with self._lock:
            self._room += size


class OrderedHash:
    """Hashes a file from front to back while its bytes arrive in any order.

    Streams hand in what they wrote; bytes ahead of their turn are kept in memory while `window`
    has room, and otherwise read back (from the page cache, they are seconds old). No thread of its
    own: whichever stream makes the next bytes contiguous takes the turn and hashes until there is
    a gap, outside of every lock but the turn, so the others go on receiving.
    """

    def __init__(self, hash: Hash, read: Callable[[int, int], bytes], window: Window) -> None:
        self.position = 0
        self._hash = hash
        self._read = read
        self._window = window
        self._ahead: dict[int, Sequence[bytes]] = {}
        self._turn = threading.Lock()
        self._lock = threading.Lock()

    def keep(self, start: int, chunks: Sequence[bytes], size: int) -> None:
        """Remember `chunks`, `size` bytes at `start`, if there is room. Before `prefix` says so."""
        if self._window.take(size):
            with self._lock:
                self._ahead[start] = chunks

    def advance(self, prefix: Callable[[], int]) -> None:
        """Hash as far as `prefix()`, the length of what is there without a gap.

        Returns at once if another stream is at it: that one then goes as far.
        """
        # Looked at again after each turn: bytes that came during it found the turn taken.
        while self.position < prefix() and self._turn.acquire(blocking=False):
            try:
                while self.position < (end := prefix()):
                    self._step(end)
            finally:
                self._turn.release()

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def _step(self, end: int) -> None:
        start = self.position
        with self._lock:
            kept = self._ahead.pop(start, None)
            following = min(self._ahead, default=end)
        chunks = kept or [self._read(start, min(start + STEP, following, end))]
        for chunk in chunks:
            self._hash.update(chunk)
        size = sum(map(len, chunks))
        if kept is not None:
            self._window.give_back(size)
        self.position = start + size
