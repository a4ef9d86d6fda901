"""What a fetch is doing right now: counters that streams write and the worker reads."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from schemas.job import FinishedFile
from schemas.live import ActiveFile

WINDOW = 5.0  # seconds the rate is averaged over
QUIET = 3.0  # seconds without a byte before it is worth a word


@dataclass(frozen=True)
class Snapshot:
    """`done` counts bytes that are on disk, `network` bytes that were received; `rate` is bytes/s.

    `note` says what stands in the way, as in `stalled 12s, retry 1/6 in 4s`, or is empty.
    """

    done: int
    total: int
    network: int
    rate: float
    files_done: int
    files_total: int
    active: tuple[ActiveFile, ...]
    note: str


@dataclass(frozen=True)
class _Retry:
    failures: int
    of: int
    at: float


class Progress:
    """Thread-safe. Streams report; anyone may look, as often as they like."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._done = self._total = self._network = self._files_total = 0
        self._active: dict[str, ActiveFile] = {}
        self._finished: list[FinishedFile] = []
        self._retries: dict[str, _Retry] = {}
        self._last_byte = clock()
        self._samples = deque([(clock(), 0)])

    def planned(self, files: int, size: int) -> None:
        with self._lock:
            self._files_total, self._total = files, size
            self._last_byte = self._clock()

    def began(self, path: str, done: int, size: int) -> None:
        """A file is being worked on; `done` of its bytes were there already."""
        with self._lock:
            self._active[path] = ActiveFile(path, done, size)
            self._done += done

    def received(self, path: str, size: int) -> None:
        with self._lock:
            self._network += size
            self._last_byte = self._clock()
            self._retries.pop(path, None)

    def working(self) -> None:
        """No byte comes, but for a good reason: what is there already is being read."""
        self._last_byte = self._clock()

    def stored(self, path: str, size: int) -> None:
        """`size` more bytes of `path` are on disk; negative when they were discarded."""
        with self._lock:
            self._done += size
            if (file := self._active.get(path)) is not None:
                self._active[path] = ActiveFile(path, file.done + size, file.size)

    def waiting(self, path: str, failures: int, of: int, seconds: float) -> None:
        with self._lock:
            self._retries[path] = _Retry(failures, of, self._clock() + seconds)

    def abandoned(self, path: str) -> None:
        """What is there of a file counts for nothing: it will begin anew."""
        with self._lock:
            if (file := self._active.pop(path, None)) is not None:
                self._done -= file.done

    def finished(self, file: FinishedFile) -> None:
        """Every byte of the file is there and its hash is right."""
        with self._lock:
            known = self._active.pop(file.path, None)
            self._done += file.size - (known.done if known else 0)
            self._finished.append(file)
            self._retries.pop(file.path, None)

    def finished_since(self, count: int) -> list[FinishedFile]:
        """The files that were finished after the first `count` ones, oldest first."""
        with self._lock:
            return self._finished[count:]

    @property
    def network(self) -> int:
        """Bytes received so far, whatever became of them."""
        return self._network

    def snapshot(self) -> Snapshot:
        with self._lock:
            return Snapshot(
                done=self._done,
                total=self._total,
                network=self._network,
                rate=self._rate(),
                files_done=len(self._finished),
                files_total=self._files_total,
                active=tuple(self._active.values()),
                note=self._note(),
            )

    def _rate(self) -> float:
        now = self._clock()
        self._samples.append((now, self._network))
        while self._samples[1][0] < now - WINDOW:
            self._samples.popleft()
        since, network = self._samples[0]
        return (self._network - network) / (now - since) if now > since else 0.0

    def _note(self) -> str:
        now = self._clock()
        words: list[str] = []
        if self._active and (quiet := now - self._last_byte) >= QUIET:
            words.append(f"stalled {quiet:.0f}s")
        if self._retries:
            retry = min(self._retries.values(), key=lambda retry: retry.at)
            left = f" in {retry.at - now:.0f}s" if retry.at > now else ""
            words.append(f"retry {retry.failures}/{retry.of}{left}")
        return ", ".join(words)
