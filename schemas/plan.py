"""What an install would bring, found out before anything is promised: the `Planner` port."""

import hashlib
from collections.abc import Iterable
from typing import Literal, Protocol, TypeAlias

from schemas.disk import Disk
from schemas.job import InstallSpec
from schemas.message import Value
from schemas.names import Glob, MaybeSecretName, MaybeStore, MaybeTarget, Repo, Revision

Algorithm: TypeAlias = Literal["sha256", "blob-sha1"]  # LFS objects; git blobs for the rest


class Wanted(Value):
    """What to install. An empty `target` is the repository's name, no globs the default choice."""

    repo: Repo
    revision: Revision = "main"
    target: MaybeTarget = ""
    include: tuple[Glob, ...] = ()
    exclude: tuple[Glob, ...] = ()
    overwrite: bool = False
    token_secret: MaybeSecretName = ""
    store: MaybeStore = ""


class PlannedFile(Value):
    """A file as the Hub describes it. `xet` is its content address there, or empty."""

    path: str
    size: int
    algorithm: Algorithm
    digest: str
    xet: str = ""


class LeftOut(Value):
    path: str
    why: str


class Plan(Value):
    """Files, totals and what was left out; `commit` is what `revision` meant at that moment.

    `disk` is None when no worker has said yet how much room its store has.
    """

    repo: str
    revision: str
    commit: str
    target: str
    store: str
    files: tuple[PlannedFile, ...]
    left_out: tuple[LeftOut, ...]
    bytes: int
    key: str
    license: str = ""
    disk: Disk | None = None

    def spec(self, wanted: Wanted) -> InstallSpec:
        """The job that carries out this plan."""
        return InstallSpec(
            repo=self.repo,
            revision=self.revision,
            commit=self.commit,
            key=self.key,
            files=len(self.files),
            bytes=self.bytes,
            include=wanted.include,
            exclude=wanted.exclude,
            overwrite=wanted.overwrite,
            token_secret=wanted.token_secret,
            license=self.license,
        )


class Planner(Protocol):
    async def plan(self, wanted: Wanted, namespace: str) -> Plan:
        """Ask the Hub and the stores, within 10 s.

        Raises `Rejected`: `not_found` (unknown or private repository, unknown revision), `gated`,
        `unsafe_path`, `nothing_to_install`, `hub_unreachable`, `unknown_store`.
        """
        ...


def content_key(repo: str, commit: str, files: Iterable[PlannedFile]) -> str:
    """The name of a content: the same repository, commit and set of files give the same key."""
    digest = hashlib.sha256(f"{repo}@{commit}\n".encode())
    for file in sorted(files, key=lambda file: file.path):
        digest.update(f"{file.path}\0{file.size}\0{file.digest}\n".encode())
    return digest.hexdigest()
