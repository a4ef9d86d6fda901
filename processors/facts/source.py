"""Where a model's files are, as whoever reads their headers sees them."""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from processors.fetch.tree import Tree


class Unreadable(Exception):
    """A file is not what its name says, or can not be read. The text is for people."""


class Broken(Unreadable):
    """No built-in engine can read it either."""


class Source(Protocol):
    """Files by their path, with their sizes in bytes. Thread-safe: `lanes` may read at once."""

    files: Mapping[str, int]
    lanes: int

    def read(self, path: str, start: int, length: int) -> bytes:
        """Bytes [start, start + length) of a file, or fewer at its end. Raises `Unreadable`."""
        ...


class Folder:
    """A `Source` of files on the disk, below one directory."""

    lanes = 1

    def __init__(self, root: Path, files: Mapping[str, int]) -> None:
        self.files = files
        self._tree = Tree(root)

    def read(self, path: str, start: int, length: int) -> bytes:
        try:
            fd = self._tree.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                return os.pread(fd, length, start)
            finally:
                os.close(fd)
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror}") from error

    def close(self) -> None:
        self._tree.close()


class Bounded:
    """A `Source` of which no more than so many bytes are read in all."""

    def __init__(self, source: Source, most: int) -> None:
        self.files = source.files
        self.lanes = source.lanes
        self._source = source
        self._left = most
        self._lock = threading.Lock()

    def read(self, path: str, start: int, length: int) -> bytes:
        with self._lock:
            self._left -= length
        if self._left < 0:
            raise Unreadable(f"{path}: the headers before it were too long to go on")
        return self._source.read(path, start, length)


def whole(source: Source, path: str, most: int) -> bytes:
    """All of a small file. Raises `Unreadable` when it is longer than `most` bytes, or cut."""
    size = source.files[path]
    if size > most:
        raise Unreadable(f"{path}: {size:,} bytes, more than {most:,} are not read")
    raw = source.read(path, 0, size)
    if len(raw) != size:
        raise Unreadable(f"{path}: shorter than listed")
    return raw
