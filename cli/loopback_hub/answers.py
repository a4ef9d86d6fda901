"""What the Hub's API says, as JSON: facts about a model, and listings of its files."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from cli.loopback_hub.repository import Blob, Commit, Repo


class Lfs(msgspec.Struct, frozen=True, rename="camel"):
    oid: str
    size: int
    pointer_size: int


class LastCommit(msgspec.Struct, frozen=True):
    id: str
    title: str
    date: str


class Entry(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A file or a folder of a commit."""

    type: Literal["file", "directory"]
    path: str
    oid: str
    size: int
    lfs: Lfs | None = None
    xet_hash: str | None = None
    last_commit: LastCommit | None = None


def file_entry(path: str, blob: Blob, xet: bool) -> Entry:
    if blob.sha256 is None:
        return Entry("file", path, blob.oid, blob.size)
    lfs = Lfs(blob.sha256, blob.size, blob.pointer_size)
    return Entry("file", path, blob.oid, blob.size, lfs, blob.xet_hash if xet else None)


def folder_entry(path: str) -> Entry:
    oid = hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
    return Entry("directory", path, oid, 0)


def folders_of(path: str) -> Iterator[str]:
    """`a` and `a/b` for `a/b/c`."""
    parts = path.split("/")[:-1]
    return (folder for end in range(len(parts)) if (folder := "/".join(parts[: end + 1])))


class Listing:
    """Everything in a commit, looked up by path or walked by folder."""

    def __init__(self, commit: Commit, xet: bool) -> None:
        folders = {folder for path in commit.files for folder in folders_of(path)}
        entries = [folder_entry(folder) for folder in folders]
        entries += [file_entry(path, blob, xet) for path, blob in commit.files.items()]
        self.commit = commit
        self._entries = {entry.path: entry for entry in sorted(entries, key=lambda e: e.path)}

    def under(self, folder: str, recursive: bool) -> Sequence[Entry] | None:
        """The entries of a folder ("" is the root), or None if there is no such folder."""
        if folder and (folder not in self._entries or self._entries[folder].type == "file"):
            return None
        prefix = f"{folder}/" if folder else ""
        return [
            entry
            for path, entry in self._entries.items()
            if path.startswith(prefix) and (recursive or "/" not in path[len(prefix) :])
        ]

    def at(self, paths: Sequence[str]) -> Sequence[Entry]:
        return [entry for path in paths if (entry := self._entries.get(path.rstrip("/")))]

    def expanded(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The same entries, each with the commit that last touched it."""
        commit = LastCommit(self.commit.sha, self.commit.title, moment(self.commit))
        return [msgspec.structs.replace(entry, last_commit=commit) for entry in entries]


def model_info(repo: Repo, commit: Commit, *, blobs: bool) -> dict[str, object]:
    """What `/api/models/{id}` says of a commit; with `blobs`, sizes and hashes of its files too."""
    about = repo.about
    license_tag = (f"license:{about.license}",) if about.license else ()
    facts: dict[str, object] = {
        "_id": hashlib.sha256(repo.id.encode()).hexdigest()[:24],
        "id": repo.id,
        "modelId": repo.id,
        "author": repo.id.partition("/")[0],
        "sha": commit.sha,
        "lastModified": moment(commit),
        "createdAt": moment(commit),
        "private": about.private,
        "gated": about.gated,
        "disabled": False,
        "downloads": about.downloads,
        "likes": about.likes,
        "tags": [*about.tags, *license_tag],
        "usedStorage": sum(blob.size for blob in commit.files.values()),
        "siblings": [_sibling(path, blob, blobs) for path, blob in commit.files.items()],
    }
    return facts | _given(repo)


def _given(repo: Repo) -> dict[str, object]:
    """Facts that the Hub leaves out when it has none."""
    about = repo.about
    facts: dict[str, object | None] = {
        "cardData": {"license": about.license} if about.license else None,
        "library_name": about.library_name,
        "pipeline_tag": about.pipeline_tag,
        "config": about.config,
        "safetensors": about.safetensors
        and {"parameters": about.safetensors, "total": sum(about.safetensors.values())},
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _sibling(path: str, blob: Blob, blobs: bool) -> dict[str, object]:
    if not blobs:
        return {"rfilename": path}
    sibling: dict[str, object] = {"rfilename": path, "size": blob.size, "blobId": blob.oid}
    if blob.sha256 is not None:
        sibling["lfs"] = {
            "sha256": blob.sha256,
            "size": blob.size,
            "pointerSize": blob.pointer_size,
        }
    return sibling


def refs(repo: Repo) -> dict[str, object]:
    """Branches and tags, each with the commit it names."""

    def named(kind: str, commits: dict[str, str]) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha}
            for name, sha in commits.items()
        ]

    return {
        "branches": named("heads", repo.branches),
        "tags": named("tags", repo.tags),
        "converts": [],
        "pullRequests": [],
    }


def moment(commit: Commit) -> str:
    """When a commit was made, the way the Hub writes it."""
    return commit.date.isoformat(timespec="milliseconds").replace("+00:00", "Z")
