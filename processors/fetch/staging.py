"""The staging directory of one attempt: files in the making, and the journal beside them.

Everything that changes the disk goes through the gate first. Between that look and the write lies
a moment in which a paused process can lose its lease. So a file is always made anew, on an inode
of its own, and bytes once journaled are never written again: what a writer that wakes up too late
still writes lies outside of all that anybody trusts. `takeover.py` keeps it off our inodes.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from processors.fetch import journal, kernel
from processors.fetch.errors import Fenced
from processors.fetch.gate import Gate
from processors.fetch.journal import (
    Begun,
    Closed,
    Done,
    Gone,
    Have,
    Journal,
    Line,
    Memory,
    Remembered,
    Synced,
)
from processors.fetch.layout import content
from processors.fetch.owner import current, proven_dead
from processors.fetch.tree import Tree
from schemas.plan import PlannedFile


class Staging:
    """Thread-safe, given that no two streams make, finish or discard the same file at once."""

    def __init__(self, directory: Path, files: Iterable[PlannedFile], gate: Gate) -> None:
        """Open `directory`, made if need be. Whatever is not known to be of `files` is removed.

        Raises `Fenced` if another process may be at work there.
        """
        self.directory = directory
        self.gate = gate
        self.wanted = {file.path: file for file in files}
        gate()
        content(directory).mkdir(parents=True, exist_ok=True)
        self._ids: dict[str, int] = {}
        self._tree = Tree(content(directory))
        try:
            self._known = self._recall(read_journal(directory))
            gate()
            self._tree.sweep(self._known)
            self._journal = self._rewritten()
        except BaseException:
            self._tree.close()
            raise

    def known(self, file: PlannedFile) -> Remembered | None:
        """What was there of `file` when we began, or has been taken over since."""
        return self._known.get(file.path)

    def learn(self, remembered: Remembered) -> None:
        self._known[remembered.file.path] = remembered

    def create(self, file: PlannedFile) -> int:
        """The descriptor of an empty file of the right size."""
        self.gate()
        fd = self._tree.create(file.path)
        try:
            kernel.allocate(fd, file.size)
        except OSError:
            os.close(fd)
            raise
        return fd

    def open(self, file: PlannedFile) -> int:
        """The descriptor of a file that is known."""
        return self._tree.open(file.path, os.O_RDWR)

    def receive(self, file: PlannedFile, source: Path) -> int:
        """Take in a whole file that came some other way; returns its descriptor."""
        self.gate()
        self._tree.receive(file.path, source)
        return self._tree.open(file.path, os.O_RDONLY)

    def begin(self, file: PlannedFile) -> None:
        """From here on, `have` speaks of this file."""
        self._ids[file.path] = len(self._ids)
        self._append(Begun(self._ids[file.path], file))

    def have(self, file: PlannedFile, start: int, end: int) -> None:
        """Bytes [start, end) of the file are written."""
        self.gate.keep()
        self._journal.append(Have(self._ids[file.path], start, end))

    def finish(self, file: PlannedFile, fd: int) -> None:
        """Keep a file whose hash is right: nobody writes to it again."""
        self.gate()
        os.fchmod(fd, 0o444)
        self._append(Done(file))

    def discard(self, file: PlannedFile) -> None:
        """Remove a file; forgotten first, so that the journal never claims too much."""
        self._append(Gone(file.path))
        self.gate()
        self._tree.remove(file.path)

    def sync(self) -> None:
        """Make all that the journal says so far survive a crash of the machine."""
        offset = self._journal.offset
        kernel.flush(self.directory)
        self._append(Synced(offset))

    def close(self) -> None:
        """Let go, all files closed, and say so if we still may: closed or not, the gate is ours."""
        with suppress(OSError):  # then others have to find out that we are gone
            if self.gate.held:
                self._journal.append(Closed())
        self._journal.close()
        self._tree.close()

    def _append(self, line: Line) -> None:
        self.gate()
        self._journal.append(line)

    def _recall(self, memory: Memory) -> dict[str, Remembered]:
        """What the journal vouches for, as far as it is wanted and still on disk."""
        if memory.owner not in (None, current()) and not idle(memory):
            raise Fenced(f"another process may be at work in {self.directory}")
        return {
            path: known
            for path, known in memory.files.items()
            if known.file == self.wanted.get(path) and self._tree.size(path) == known.file.size
        }

    def _rewritten(self) -> Journal:
        """A journal of our own that says what is known, in place of the one that was there."""
        path = journal_path(self.directory)
        fresh = path.with_suffix(".new")
        self.gate()
        fresh.unlink(missing_ok=True)
        self._journal = Journal(fresh)
        self._append(current())
        for remembered in self._known.values():
            self._describe(remembered)
        self._journal.sync()
        self.gate()
        os.rename(fresh, path)
        return self._journal

    def _describe(self, remembered: Remembered) -> None:
        if remembered.done:
            self._append(Done(remembered.file))
            return
        self.begin(remembered.file)
        for start, end in remembered.spans:
            self.have(remembered.file, start, end)


def journal_path(directory: Path) -> Path:
    return directory / "journal"


def read_journal(directory: Path) -> Memory:
    """What the journal of a staging directory says to us."""
    return journal.read(journal_path(directory), current().boot)


def idle(memory: Memory) -> bool:
    """Whether the owner of a staging directory is known, and certain never to write there again."""
    return memory.owner is not None and (memory.closed or proven_dead(memory.owner))
