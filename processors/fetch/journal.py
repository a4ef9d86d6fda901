"""The journal of a staging directory: which bytes of which files are really there.

A line is appended after the bytes it speaks of were written, so after kill -9 at any moment every
line that can be read is true. One line is a checksum and a JSON array; reading ends at the first
line that is torn.

A crash of the whole machine is different: lines may be on disk whose bytes are not. Now and then
everything is flushed, and a `Synced` line says up to which offset of the journal; on another boot
only what lies before the last such offset counts.

Opening a staging directory rewrites its journal with what is still trusted, so a journal speaks of
one boot, that of its first owner. Whoever takes the directory over adds itself as the owner before
anything else; the last one counts. The last line is `Closed` when that owner has finished writing
and has closed every file, which makes it as good as dead for whoever comes next.
"""

import errno
import os
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import msgspec

from processors.fetch.owner import Owner
from processors.fetch.spans import Spans
from schemas.plan import PlannedFile


class Begun(msgspec.Struct, frozen=True, array_like=True, tag="begun"):
    """An empty file was made; `id` stands for it from here on."""

    id: int
    file: PlannedFile


class Have(msgspec.Struct, frozen=True, array_like=True, tag="have"):
    """Bytes [start, end) of file `id` are there, and will never be written again."""

    id: int
    start: int
    end: int


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """All of the file is there and its hash is right."""

    file: PlannedFile


class Gone(msgspec.Struct, frozen=True, array_like=True, tag="gone"):
    """Nothing of the file at `path` is there any more."""

    path: str


class Synced(msgspec.Struct, frozen=True, array_like=True, tag="synced"):
    """Lines before `offset`, and the bytes they speak of, survive a crash of the machine."""

    offset: int


class Closed(msgspec.Struct, frozen=True, array_like=True, tag="closed"):
    """The owner writes here no more."""


Line: TypeAlias = Owner | Begun | Have | Done | Gone | Synced | Closed

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


@dataclass
class Remembered:
    """What is there of one file. `done`: all of it, and the hash was right."""

    file: PlannedFile
    spans: Spans = field(default_factory=Spans)
    done: bool = False


@dataclass
class Memory:
    """What a journal says, by path. `length` is how many bytes of it can be read."""

    owner: Owner | None = None
    length: int = 0
    files: dict[str, Remembered] = field(default_factory=dict[str, "Remembered"])
    closed: bool = False


class Journal:
    """Appends lines. Thread-safe; one `write` a line, straight to the kernel.

    After a line that could not be written whole no other is taken: nobody would ever read it.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600)
        self._lock = threading.Lock()
        self._torn = self._closed = False
        self.offset = os.fstat(self._fd).st_size

    def append(self, line: Line) -> None:
        """Raises OSError, also once closed: the descriptor may be somebody else's by then."""
        raw = encode(line)
        with self._lock:
            if self._closed:
                raise OSError(errno.EBADF, "the journal is closed")
            if self._torn or (written := os.write(self._fd, raw)) < len(raw):
                self._torn = True
                raise OSError(errno.ENOSPC, "the journal cannot be written")
            self.offset += written

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self._fd)


def encode(line: Line) -> bytes:
    text = _encoder.encode(line)
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(raw: bytes) -> Line | None:
    """The line, or None if it is torn or was never one."""
    checksum, _, text = raw.partition(b" ")
    try:
        whole = raw.endswith(b"\n") and int(checksum, 16) == zlib.crc32(text[:-1])
        return _decoder.decode(text) if whole else None
    except (ValueError, msgspec.DecodeError):
        return None


def read(path: Path, boot: str) -> Memory:
    """What the journal at `path` says to a process on `boot`; nothing if there is none."""
    lines = _lines(path)
    owners = [line for _, line in lines if isinstance(line, Owner)]
    if not owners:
        return Memory()
    memory = Memory(owners[-1], lines[-1][0], closed=isinstance(lines[-1][1], Closed))
    if owners[0].boot != boot:
        durable = max((line.offset for _, line in lines if isinstance(line, Synced)), default=0)
        lines = [(end, line) for end, line in lines if end <= durable]
    by_id: dict[int, Remembered] = {}
    for _, line in lines:
        _remember(memory, by_id, line)
    return memory


def _lines(path: Path) -> list[tuple[int, Line]]:
    """The lines that can be read, each with the offset of its end."""
    lines: list[tuple[int, Line]] = []
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    except FileNotFoundError:
        return lines
    offset = 0
    with file:
        for raw in file:
            line = decode(raw)
            if line is None:
                break
            offset += len(raw)
            lines.append((offset, line))
    return lines


def _remember(memory: Memory, by_id: dict[int, Remembered], line: Line) -> None:
    match line:
        case Begun(id, file):
            by_id[id] = memory.files[file.path] = Remembered(file)
        case Have(id, start, end):
            by_id[id].spans.add(start, end)
        case Done(file):
            memory.files[file.path] = Remembered(file, Spans([(0, file.size)]), done=True)
        case Gone(path):
            memory.files.pop(path, None)
        case Owner() | Synced() | Closed():
            pass
