"""How an attempt takes over what an earlier one has staged, without ever sharing a file with it.

An earlier attempt may only be paused: it holds open descriptors, and will write one last time
between its look at the lease and its end. So its directory is taken over

- by a rename, inodes and all, if its process is proven dead or has closed its journal. We add
  ourselves to the journal first, so that we are never taken for dead in our turn;
- otherwise by renaming it aside and copying the bytes it has journaled, and nothing else, into
  files of our own (sharing blocks where the file system can). Each original is unlinked after its
  copy, so that room for one file more is enough.

Either way the earlier directory is away from its place before the first byte is fetched: a late
rename of it into the target finds nothing to rename.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from processors.fetch.journal import Journal, Remembered
from processors.fetch.layout import TAKEN, content
from processors.fetch.owner import current
from processors.fetch.spans import Spans
from processors.fetch.staging import Staging, idle, journal_path, read_journal
from processors.fetch.tree import Tree

STEP = 16 << 20


def inherit(earlier: Sequence[Path], directory: Path, gate: Callable[[], None]) -> None:
    """Make the newest of the `earlier` directories `directory` itself, where that is safe."""
    if directory.exists() or not earlier or not idle(memory := read_journal(earlier[0])):
        return
    with suppress(FileNotFoundError):  # somebody else was faster
        gate()
        _claim(journal_path(earlier[0]), memory.length)
        gate()
        os.rename(earlier[0], directory)


def copy(earlier: Path, staging: Staging) -> None:
    """Copy what `earlier` has of the files that `staging` wants and lacks, then remove it."""
    if not earlier.exists():
        return
    aside = earlier
    if earlier.suffix != TAKEN:
        aside = earlier.with_name(f"{earlier.name}.{uuid.uuid4().hex}{TAKEN}")
        staging.gate()
        os.rename(earlier, aside)
    if content(aside).is_dir():
        _copy_files(aside, staging)
    staging.gate()
    shutil.rmtree(aside, ignore_errors=True)


def _claim(path: Path, length: int) -> None:
    """Add ourselves to a dead owner's journal, in place of what nobody can read of it."""
    os.truncate(path, length)
    journal = Journal(path)
    journal.append(current())
    journal.close()


def _copy_files(aside: Path, staging: Staging) -> None:
    tree = Tree(content(aside))
    try:
        for path, remembered in read_journal(aside).files.items():
            if remembered.file != staging.wanted.get(path) or staging.known(remembered.file):
                continue
            try:
                _copy_file(tree, staging, remembered)
            except OSError:  # what cannot be copied is fetched
                staging.discard(remembered.file)
            staging.gate()
            tree.remove(path)
    finally:
        tree.close()


def _copy_file(tree: Tree, staging: Staging, remembered: Remembered) -> None:
    """Copy the journaled bytes. No hash is taken over: the copy has yet to be read."""
    file = remembered.file
    source = tree.open(file.path, os.O_RDONLY)
    try:
        fd = staging.create(file)
        try:
            staging.begin(file)
            for start, end in remembered.spans:
                _copy_span(source, fd, start, end, staging.gate)
                staging.have(file, start, end)
        finally:
            os.close(fd)
    finally:
        os.close(source)
    staging.learn(Remembered(file, Spans(remembered.spans)))


def _copy_span(source: int, fd: int, start: int, end: int, gate: Callable[[], None]) -> None:
    while start < end:
        gate()
        count = min(end - start, STEP)
        try:
            copied = os.copy_file_range(source, fd, count, start, start)
        except OSError:  # not between these two files, or not with this kernel
            copied = os.pwrite(fd, os.pread(source, count, start), start)
        if copied == 0:
            raise OSError("the original is shorter than its journal says")
        start += copied
