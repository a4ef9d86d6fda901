"""One file on its way in: which bytes are there, and their hash as far as it is known."""

import os
import threading
from collections.abc import Sequence

from processors.fetch.errors import VerificationFailed
from processors.fetch.hashing import OrderedHash, Window, new_hash
from processors.fetch.progress import Progress
from processors.fetch.spans import Spans
from processors.fetch.staging import Staging
from schemas.plan import PlannedFile


class Incoming:
    """Thread-safe: any number of streams write, each to bytes that are its own."""

    def __init__(
        self,
        file: PlannedFile,
        staging: Staging,
        progress: Progress,
        window: Window,
        *,
        parted: bool,
    ) -> None:
        """`parted`: it comes in several parts, so that the journal has to know of each."""
        self.file = file
        self._staging = staging
        self._window = window
        self._parted = parted
        self._progress = progress
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._fd = -1
        self._retried = False
        known = staging.known(file)
        self._spans = Spans(known.spans) if known else Spans()
        self._hash = self._new_hash()

    def open(self) -> None:
        """Have the file ready for writing, if it is not. Raises OSError."""
        with self._lock:
            if self._fd >= 0:
                return
            if self._staging.known(self.file) and not self._retried:
                self._fd = self._staging.open(self.file)
            else:
                self._fd = self._staging.create(self.file)
                if self._parted:
                    self._staging.begin(self.file)
            self._progress.began(self.file.path, self._spans.covered, self.file.size)

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        with self._lock:
            return self._spans.missing(start, end)

    def write(self, start: int, chunks: Sequence[bytes]) -> None:
        """Put `chunks` at `start`, where nothing is yet. Raises OSError."""
        # The kernel lets one write into a file at a time; those that wait there burn a processor.
        with self._writing:
            self._staging.gate.keep()
            size = write_all(self._fd, chunks, start)
        self._hash.keep(start, chunks, size)  # first: whoever sees the span must find the bytes
        with self._lock:
            self._spans.add(start, start + size)
        self._progress.stored(self.file.path, size)

    def vouch(self, start: int, end: int) -> None:
        """Journal [start, end), which is written."""
        if self._parted:
            self._staging.have(self.file, start, end)

    def advance(self) -> None:
        """Hash what has become contiguous, unless another stream is at it."""
        self._hash.advance(self._prefix)

    def settle(self) -> bool:
        """Keep the file if its hash is right; begin it anew if it is wrong for the first time.

        For whoever is left when all bytes are there and nobody else is at it. False in the second
        case. Raises `VerificationFailed` in the third.
        """
        self.advance()  # what came while another stream, now gone, had the turn
        actual = self._hash.hexdigest()
        if actual == self.file.digest:
            self._staging.finish(self.file, self._fd)
            self.close()
            return True
        self.close()
        self._staging.discard(self.file)
        if self._retried:
            raise VerificationFailed(
                self.file.path, f"{self.file.algorithm} is {actual} instead of {self.file.digest}"
            )
        self._retried = True
        self._progress.stored(self.file.path, -self._spans.covered)
        self._spans = Spans()
        self._hash = self._new_hash()
        return False

    def close(self) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _prefix(self) -> int:
        with self._lock:
            return self._spans.prefix

    def _new_hash(self) -> OrderedHash:
        hash = new_hash(self.file.algorithm, self.file.size)
        return OrderedHash(hash, self._read, self._window)

    def _read(self, start: int, end: int) -> bytes:
        self._staging.gate()
        self._progress.working()
        data = os.pread(self._fd, end - start, start)
        if not data:
            raise OSError(f"{self.file.path} became shorter while it was written")
        return data


def write_all(fd: int, chunks: Sequence[bytes], start: int) -> int:
    """Write `chunks` one after the other from offset `start`; return how many bytes that were."""
    size = sum(map(len, chunks))
    written = os.pwritev(fd, chunks, start)
    if written < size:
        rest = memoryview(b"".join(chunks))
        while written < size:
            written += os.pwrite(fd, rest[written:], start + written)
    return size
