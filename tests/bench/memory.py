"""How much memory processes have had at most, as Linux counts it."""

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

LOOK_EVERY = 0.05
MIB_IN_KIB = 1024


def high_water(pid: int) -> float:
    """The most that a process has had resident since it started, in MiB. Raises OSError."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = next(line for line in lines if line.startswith("VmHWM:"))
    return int(found.split()[1]) / MIB_IN_KIB


class HighWater:
    """The most, in MiB, that any child of `parent` with `word` in its command line has had while
    the block ran; 0 if there was none. The last look may come a moment before a child's end.
    """

    def __init__(self, parent: int, word: str) -> None:
        self.peak = 0.0
        self._parent = psutil.Process(parent)
        self._word = word
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            for child in self._parent.children():
                # it may end between any two of these; VmHWM is missing from what is left of it
                with suppress(psutil.Error, OSError, StopIteration):
                    if any(self._word in part for part in child.cmdline()):
                        self.peak = max(self.peak, high_water(child.pid))
