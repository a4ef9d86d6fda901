"""Fetching from a hub that tests own, with little patience: what the tests of the engine share."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from processors.fetch.engine import Fetcher
from processors.fetch.layout import content
from processors.fetch.limits import Limits
from processors.fetch.source import Source
from processors.fetch.xet import Xet
from schemas.job import FinishedFile
from schemas.plan import PlannedFile
from tests.hub import Hub, waiting
from tests.support import PATIENCE

MIB = 1 << 20
QUICK = Limits(backoff=0.01, reserve=0)
IMPATIENT = Limits(stall=0.5, backoff=0.01, reserve=0)
REPO = "org/model"

until = partial(waiting.until, within=PATIENCE)


def planned(hub: Hub, repo: str = REPO) -> list[PlannedFile]:
    """The files of a repository as the hub lists them."""
    return [
        PlannedFile(
            path,
            blob.size,
            "sha256" if blob.sha256 else "blob-sha1",
            blob.etag,
            blob.xet_hash if blob.sha256 and hub.repos[repo].about.xet else "",
        )
        for path, blob in hub.repos[repo].head.files.items()
    ]


def always() -> None:
    """The fence of a lease that nobody ever loses."""


@dataclass
class Fetch:
    """One fetch of a whole repository, and what it said."""

    hub: Hub
    directory: Path
    limits: Limits = QUICK
    fence: Callable[[], None] = always
    repo: str = REPO
    token: str = ""
    xet: Xet | None = None
    said: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        commit = self.hub.repos[self.repo].head.sha
        self.fetcher = Fetcher(
            Source(self.hub.url, self.repo, commit, self.token),
            self.directory,
            lambda: self.fence(),
            limits=self.limits,
            say=self.said.append,
            xet=self.xet,
        )

    def run(self, *earlier: Path) -> list[FinishedFile]:
        return self.fetcher.run(planned(self.hub, self.repo), earlier)

    def start(self, *earlier: Path) -> "Future[list[FinishedFile]]":
        """The same in a thread."""
        future: Future[list[FinishedFile]] = Future()

        def run() -> None:
            try:
                future.set_result(self.run(*earlier))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return future


def hashes(directory: Path) -> dict[str, str]:
    """sha256 by path of the files in a staging directory."""
    root = content(directory)
    return {
        path.relative_to(root).as_posix(): sha256(path)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def published(hub: Hub, repo: str = REPO) -> dict[str, str]:
    """sha256 by path of the files of a repository."""
    files = hub.repos[repo].head.files
    return {
        path: blob.sha256
        or hashlib.sha256(
            blob.content if isinstance(blob.content, bytes) else blob.content.read_bytes()
        ).hexdigest()
        for path, blob in files.items()
    }


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
