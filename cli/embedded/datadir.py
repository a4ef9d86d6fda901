"""The data directory: one owner at a time, of a known format, on a disk with room."""

import errno
import fcntl
import os
import pwd
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.writing import write_private

# Goes up when an older mllm could no longer use what this one writes.
FORMAT = 1
# Bytes that must be free before the servers start, or are trusted with writes again.
ROOM = 64 * 1024 * 1024
FULL = {errno.ENOSPC, errno.EDQUOT}


class StackError(Exception):
    """Why the stack cannot run, in one line, and in another what its operator can do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class DataDir:
    root: Path

    @property
    def stamp(self) -> Path:
        return self.root / "VERSION"

    @property
    def nats(self) -> Path:
        return self.root / "nats"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def status(self) -> Path:
        return self.run / "stack.json"


@contextmanager
def claim(root: Path, free: Callable[[Path], int]) -> Generator[DataDir]:
    """The data directory at `root`, made if need be, and nobody else's until the block ends.

    `free` tells how many bytes can still be written at a path. Raises `StackError` when another
    process has the directory, when it cannot be written, when a newer version wrote it, or when its
    disk is full.
    """
    data = DataDir(root.expanduser().absolute())
    with blamed_on(data.root):
        _check_format(data)
        _lay_out(data)
        lock = os.open(data.run / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with blamed_on(data.root):
            _lock(lock, data)
        if free(data.root) < ROOM:
            raise _full(data.root, free)
        with blamed_on(data.root):
            write_private(data.stamp, f"{FORMAT}\n".encode(), durable=True)
        yield data
    finally:
        os.close(lock)


@contextmanager
def blamed_on(path: Path) -> Generator[None]:
    """Turn what the operating system refuses about `path` into a `StackError`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise _full(path, free_bytes) from error
        culprit = error.filename or path
        raise StackError(
            f"cannot use the data directory: {culprit}: {(error.strerror or str(error)).lower()}",
            f"make it writable by {account_name()}, or choose another with --data-dir",
        ) from error


def free_bytes(path: Path) -> int:
    """Bytes this user can still write on the file system that holds `path`, made or not."""
    existing = next(place for place in (path, *path.parents) if place.exists())
    return shutil.disk_usage(existing).free


def account_name() -> str:
    """The name of the user this process runs as. Raises `StackError` if it has none."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError as error:
        raise StackError(
            f"user id {uid} has no account on this machine, which Postgres needs",
            "run mllm as a user listed in /etc/passwd",
        ) from error


def _check_format(data: DataDir) -> None:
    if not data.stamp.exists():
        return
    text = data.stamp.read_text().strip()
    if not text.isdecimal():
        raise StackError(
            f"{data.stamp} does not hold a format version",
            f"write {FORMAT} into it if this is mllm's data directory, or choose another",
        )
    if int(text) > FORMAT:
        raise StackError(
            f"{data.root} was written by a newer mllm (format {text}, this one knows {FORMAT})",
            "upgrade mllm, or choose another data directory with --data-dir",
        )


def _lay_out(data: DataDir) -> None:
    # Under root, Postgres runs as another user, who has to pass through to its own directory.
    data.root.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    for directory in (data.nats, data.run, data.logs):
        directory.mkdir(mode=0o700, exist_ok=True)


def _lock(lock: int, data: DataDir) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode().strip()
        raise StackError(
            f"mllm is already up on {data.root} (process {holder})",
            "use it as it is, stop it with `mllm down`, or choose another --data-dir",
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)


def _full(path: Path, free: Callable[[Path], int]) -> StackError:
    left, needed = (f"{size / 2**20:.0f} MiB" for size in (free(path), ROOM))
    return StackError(
        f"the disk that holds {path} is full: {left} free, {needed} needed to start",
        "free some space, or choose a data directory on another disk with --data-dir",
    )
