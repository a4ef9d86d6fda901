"""Files below one directory, reached segment by segment: no symbolic link is ever followed."""

import os
import stat
from collections.abc import Container, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """Paths are relative, with `/` between segments, and have been checked (`layout.py`)."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, FOLDER)

    def create(self, path: str) -> int:
        """The descriptor of a file made anew: whatever had the name has lost it."""
        with self._folder(path, make=True) as (folder, name):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            return os.open(name, NEW, 0o600, dir_fd=folder)

    def open(self, path: str, flags: int) -> int:
        with self._folder(path) as (folder, name):
            return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)

    def receive(self, path: str, source: Path) -> None:
        """Move a file from elsewhere on this file system to `path`."""
        with self._folder(path, make=True) as (folder, name):
            os.rename(source, name, dst_dir_fd=folder)

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError), self._folder(path) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def size(self, path: str) -> int | None:
        """Bytes of the regular file at `path`; None if there is none."""
        with suppress(OSError), self._folder(path) as (folder, name):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            return status.st_size if stat.S_ISREG(status.st_mode) else None
        return None

    def files(self) -> Iterator[str]:
        """The paths of everything that is not a folder."""
        for folder, _, names, _ in self._walk():
            for name in names:
                yield os.path.normpath(os.path.join(folder, name))

    def sweep(self, keep: Container[str]) -> None:
        """Remove every file that is not to be kept, and every folder that this leaves empty."""
        for folder, folders, names, fd in self._walk():
            for name in names:
                if os.path.normpath(os.path.join(folder, name)) not in keep:
                    os.unlink(name, dir_fd=fd)
            for name in folders:
                with suppress(OSError):  # not empty
                    os.rmdir(name, dir_fd=fd)

    def close(self) -> None:
        os.close(self._root)

    def _walk(self) -> Iterator[tuple[str, list[str], list[str], int]]:
        """From the leaves up: folder, its folders, its other entries, its descriptor."""
        for folder, folders, names, fd in os.fwalk(".", topdown=False, dir_fd=self._root):
            links = [name for name in folders if _is_link(name, fd)]
            yield folder, [name for name in folders if name not in links], names + links, fd

    @contextmanager
    def _folder(self, path: str, *, make: bool = False) -> Generator[tuple[int, str]]:
        """The descriptor of the folder that holds `path`, and the name it has there."""
        *folders, name = path.split("/")
        fd = os.dup(self._root)
        try:
            for folder in folders:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(folder, dir_fd=fd)
                below = os.open(folder, FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd, name
        finally:
            os.close(fd)


def _is_link(name: str, folder: int) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
