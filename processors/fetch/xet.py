"""Fetching from Xet storage in a child process that can be killed.

Xet's own client is fast, but takes what memory it likes and hangs for minutes at a time. So it
runs as a child with capped buffers, watched for memory and for standstill; whatever goes wrong
there is an `XetFailed`, and its files are fetched over HTTP instead. What the child has fetched
is not journaled: after a crash it begins again.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec
import psutil

from processors.fetch.errors import XetFailed
from processors.fetch.gate import Gate
from processors.fetch.limits import MIB
from processors.fetch.progress import Progress
from processors.fetch.xet_lines import (
    Got,
    Line,
    Order,
    Ordered,
    Refused,
    Whole,
    Wrote,
    decode,
)
from schemas.plan import PlannedFile

LOOK_EVERY = 0.2
SETTINGS: Mapping[str, str] = {
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_SIZE": "256mb",
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_PERFILE_SIZE": "128mb",
    "HF_XET_RECONSTRUCTION_DOWNLOAD_BUFFER_LIMIT": "512mb",
    "HF_XET_RECONSTRUCTION_MIN_RECONSTRUCTION_FETCH_SIZE": "64mb",
    "HF_XET_RECONSTRUCTION_MAX_RECONSTRUCTION_FETCH_SIZE": "256mb",
    "HF_XET_RECONSTRUCTION_MIN_PREFETCH_BUFFER": "128mb",
    "HF_XET_CLIENT_AC_MAX_DOWNLOAD_CONCURRENCY": "16",
    "HF_XET_CLIENT_CONNECT_TIMEOUT": "10s",
    "HF_XET_CLIENT_READ_TIMEOUT": "60s",
    "HF_XET_CHUNK_CACHE_SIZE_BYTES": "0",
    "HF_XET_HIGH_PERFORMANCE": "0",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
INHERITED = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass(frozen=True)
class Xet:
    """How to run the child. Bytes and seconds; files below `smallest` are not worth a process."""

    command: tuple[str, ...] = (sys.executable, "-P", "-m", "processors.fetch.xet_child")
    stall: float = 60.0
    memory: int = 1536 * MIB
    smallest: int = 16 * MIB

    def takes(self, file: PlannedFile) -> bool:
        return bool(file.xet) and file.size >= self.smallest

    def fetch(self, order: Order, home: Path, gate: Gate, progress: Progress) -> Iterator[Ordered]:
        """Do as ordered, and yield each file when it is whole; nobody has hashed it yet.

        `home` is a directory for what else the child writes. Raises `XetFailed`, `Halted`; the
        child is gone afterwards in any case.
        """
        child = _Child(self, order, home)
        try:
            for file in order.files:
                progress.began(file.path, 0, file.size)
                self._receive(file.path, child.lines(gate), progress)
                yield file
        finally:
            child.kill()

    def _receive(self, path: str, lines: Iterable[Line], progress: Progress) -> None:
        for line in lines:
            match line:
                case Got(size):
                    progress.received(path, size)
                case Wrote(size):
                    progress.stored(path, size)
                case Whole():
                    return
                case Refused(why):
                    raise XetFailed(f"refused: {why}")


class _Child:
    """A process group of its own, which ends with us and can be killed at any time."""

    def __init__(self, xet: Xet, order: Order, home: Path) -> None:
        self._xet = xet
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._process = subprocess.Popen(
            xet.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(home),
            start_new_session=True,
        )
        threading.Thread(target=self._listen, name="xet", daemon=True).start()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then its end is about to be heard
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            self._process.stdin.flush()

    def lines(self, gate: Gate) -> Iterator[Line]:
        """What the child says, as long as it is well."""
        heard = time.monotonic()
        while True:
            gate()
            with suppress(Empty):
                raw = self._lines.get(timeout=LOOK_EVERY)
                if not raw:
                    raise XetFailed(f"its process ended with status {self._process.wait()}")
                heard = time.monotonic()
                yield self._understood(raw)
            self._examine(time.monotonic() - heard)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(OSError, ValueError):  # closed while we listen
            for raw in self._process.stdout:
                self._lines.put(raw)
        self._lines.put(b"")

    def _understood(self, raw: bytes) -> Line:
        try:
            return decode(raw)
        except msgspec.DecodeError as error:
            raise XetFailed("its process does not speak our language") from error

    def _examine(self, silence: float) -> None:
        if silence > self._xet.stall:
            raise XetFailed(f"its process has done nothing for {silence:.0f}s")
        with suppress(psutil.Error):
            if psutil.Process(self._process.pid).memory_info().rss > self._xet.memory:
                raise XetFailed(f"its process takes more than {self._xet.memory // MIB} MiB")


def _environment(home: Path) -> dict[str, str]:
    """No token, and nothing else of ours, is handed down this way."""
    names = {*INHERITED, *PROXIES, *(name.upper() for name in PROXIES)}
    kept = {name: value for name, value in os.environ.items() if name in names}
    return {**kept, **SETTINGS, "HF_HOME": str(home), "HF_XET_CACHE": str(home / "xet")}
