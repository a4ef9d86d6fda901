"""Repositories as the Hub keeps them: commits of files, and the branches and tags that name them.

Every name is derived from content, so the same files always have the same hashes and the same
sequence of pushes always ends at the same commit.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import msgspec

LFS_SUFFIXES = {".bin", ".gguf", ".h5", ".model", ".onnx", ".pt", ".pth", ".safetensors", ".zip"}
LARGEST_REGULAR = 10_000_000  # bytes; the Hub takes larger files only through LFS


class Blob(msgspec.Struct, frozen=True):
    """A file's content and the names the Hub gives it; `sha256` is set for LFS files alone."""

    content: bytes | Path
    size: int
    oid: str  # git's blob id: of the content, or of the pointer that stands for it in git
    sha256: str | None = None
    pointer_size: int = 0

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid

    @property
    def xet_hash(self) -> str:
        """A well-formed name for the content in Xet storage; not the hash Xet would compute."""
        return hashlib.sha256(f"xet {self.etag}".encode()).hexdigest()


Source: TypeAlias = bytes | Path | Blob
"""What a file can be made from: its bytes, a file on disk, or a blob made before."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the Hub says about a repository beside its files."""

    gated: Literal["auto", "manual", False] = False
    private: bool = False
    xet: bool = False  # whether its LFS files are offered through Xet storage as well
    license: str | None = None
    tags: tuple[str, ...] = ()
    library_name: str | None = None
    pipeline_tag: str | None = None
    downloads: int = 0
    likes: int = 0
    config: Mapping[str, object] | None = None
    safetensors: Mapping[str, int] | None = None  # parameters by dtype


class Commit(msgspec.Struct, frozen=True):
    sha: str
    title: str
    date: datetime
    files: Mapping[str, Blob]  # by path, sorted


def git_blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def lfs_blob(content: bytes | Path, size: int, sha256: str) -> Blob:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return Blob(content, size, git_blob_id(pointer.encode()), sha256, len(pointer))


def blob(path: str, source: Source) -> Blob:
    """The blob for a file at `path`: in LFS if it is large or of a kind that belongs there."""
    if isinstance(source, Blob):
        return source
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size <= LARGEST_REGULAR and PurePosixPath(path).suffix not in LFS_SUFFIXES:
        data = source.read_bytes() if isinstance(source, Path) else source
        return Blob(data, size, git_blob_id(data))
    if isinstance(source, bytes):
        return lfs_blob(source, size, hashlib.sha256(source).hexdigest())
    with source.open("rb") as file:
        return lfs_blob(source, size, hashlib.file_digest(file, "sha256").hexdigest())


class Repo:
    """A model repository. Old commits stay; branches and tags move."""

    def __init__(self, id: str, files: Mapping[str, Source], about: About | None = None) -> None:
        self.id = id
        self.about = about or About()
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self._commits: dict[str, Commit] = {}
        self.lfs: dict[str, Blob] = {}  # the LFS files of all commits, by sha256
        self.push(files, title="initial commit")

    @property
    def head(self) -> Commit:
        return self._commits[self.branches["main"]]

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or a full commit sha means."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self._commits.get(sha)

    def push(
        self, files: Mapping[str, Source | None], *, branch: str = "main", title: str = "update"
    ) -> str:
        """Commit changed files (None deletes one) on a branch, new or not; returns the sha."""
        parent = self.at(branch) or (self.head if self.branches else None)
        tree = dict(parent.files) if parent else {}
        for path, source in files.items():
            if source is None:
                tree.pop(path, None)
            else:
                tree[path] = blob(path, source)
        tree = dict(sorted(tree.items()))
        self.lfs |= {file.sha256: file for file in tree.values() if file.sha256}
        sha = self._sha(parent, title, tree)
        self._commits[sha] = Commit(sha, title, datetime.now(UTC), tree)
        self.branches[branch] = sha
        return sha

    def tag(self, name: str, revision: str = "main") -> None:
        """Name a commit for good; raises KeyError when the revision is unknown."""
        commit = self.at(revision)
        if commit is None:
            raise KeyError(revision)
        self.tags[name] = commit.sha

    def _sha(self, parent: Commit | None, title: str, files: Mapping[str, Blob]) -> str:
        lines = [self.id, parent.sha if parent else "", title]
        lines += [f"{file.oid} {path}" for path, file in files.items()]
        return hashlib.sha1("\n".join(lines).encode(), usedforsecurity=False).hexdigest()
