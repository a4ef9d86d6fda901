"""Are installed weights still what was installed? Told from their manifest, without a network."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from processors.fetch import manifest
from processors.fetch.hashing import STEP, new_hash
from processors.fetch.layout import RESERVED, manifest_path
from processors.fetch.progress import Progress
from processors.fetch.tree import Tree
from schemas.job import FinishedFile

READERS = 4


@dataclass(frozen=True)
class Verdict:
    """What was looked at, and the paths of what is not as it was: all empty if all is well."""

    files: int
    bytes: int
    missing: tuple[str, ...]
    corrupt: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def well(self) -> bool:
        return not (self.missing or self.corrupt or self.extra)


def verify(target: Path, progress: Progress, proceed: Callable[[], None]) -> Verdict:
    """Hash every file of the weights in `target` again and compare with their manifest.

    `proceed` is called between megabytes, from several threads, and ends it all by raising. Without
    a manifest that can be read there is nothing to compare with: then that is what is missing.
    """
    known = manifest.read(target)
    if known is None:
        return Verdict(0, 0, (str(manifest_path(target).relative_to(target)),), (), ())
    progress.planned(len(known.files), known.bytes)
    tree = Tree(target)
    try:
        extra = set(tree.files()) - {file.path for file in known.files}
        check = _Check(tree, progress, proceed)
        with ThreadPoolExecutor(READERS, thread_name_prefix="verify") as readers:
            found = dict(zip(known.files, readers.map(check, known.files), strict=True))
    finally:
        tree.close()
    return Verdict(
        files=len(known.files),
        bytes=known.bytes,
        missing=tuple(file.path for file, digest in found.items() if digest is None),
        corrupt=tuple(
            file.path for file, digest in found.items() if digest not in (None, file.digest)
        ),
        extra=tuple(sorted(path for path in extra if not path.startswith(f"{RESERVED}/"))),
    )


@dataclass(frozen=True)
class _Check:
    tree: Tree
    progress: Progress
    proceed: Callable[[], None]

    def __call__(self, file: FinishedFile) -> str | None:
        """The hash of a file as it is now; None if it is not there."""
        self.proceed()
        try:
            fd = self.tree.open(file.path, os.O_RDONLY)
        except OSError:
            return None
        with os.fdopen(fd, "rb", buffering=0) as stream:
            self.progress.began(file.path, 0, file.size)
            digest = self._hash(file, stream.fileno())
        self.progress.finished(file)
        return digest

    def _hash(self, file: FinishedFile, fd: int) -> str:
        try:
            hash = new_hash(file.algorithm, os.fstat(fd).st_size)
        except ValueError:
            return f"unknown to us: {file.algorithm}"
        while data := os.read(fd, STEP):
            self.proceed()
            hash.update(data)
            self.progress.stored(file.path, len(data))
        return hash.hexdigest()
