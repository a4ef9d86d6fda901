"""The Hugging Face Hub's metadata, through its own client library: what is there, and may we."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec
from httpx2 import HTTPError
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoFile

from schemas.message import Rejected
from schemas.plan import PlannedFile

T = TypeVar("T")

AWAY = (TimeoutError, HTTPError, HfHubHTTPError, OSError)
NONSENSE = (ValueError, TypeError, LookupError, AttributeError)
"""What the client library stumbles into when a proxy's page, say, comes in place of an answer."""


class Listing(msgspec.Struct, frozen=True):
    """A repository at one commit."""

    commit: str
    files: tuple[PlannedFile, ...]
    license: str


class HubAccess(Protocol):
    """The Hub: its listing, and where and as whom to fetch."""

    endpoint: str
    token: str

    async def list(self, repo: str, revision: str, token: str) -> Listing: ...


class Hub:
    """One Hub or mirror. `token`, if not empty, serves installs that name none of their own."""

    def __init__(self, endpoint: str, token: str, *, patience: float = 10.0) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.token = token
        self._patience = patience

    async def list(self, repo: str, revision: str, token: str) -> Listing:
        """Resolve `revision` once and list what is there.

        Raises `Rejected`: `not_found`, `gated`, `hub_unreachable`.
        """
        return await self._ask(repo, lambda: self._list(repo, revision, token))

    def _list(self, repo: str, revision: str, token: str) -> Listing:
        api = HfApi(endpoint=self.endpoint, token=token or self.token or False)
        info = api.model_info(repo, revision=revision, timeout=self._patience)
        if not info.sha:
            raise ValueError("no commit")
        commit = info.sha
        tree = api.list_repo_tree(repo, recursive=True, revision=commit)
        files = tuple(planned(entry) for entry in tree if isinstance(entry, RepoFile))
        if info.gated and files:
            self._check_access(api, repo, commit, min(files, key=lambda file: file.size))
        return Listing(commit, files, license_of(info))

    def _check_access(self, api: HfApi, repo: str, commit: str, file: PlannedFile) -> None:
        """A gated repository can be listed by everyone; only its files tell who may have them."""
        url = hf_hub_url(repo, file.path, revision=commit, endpoint=self.endpoint)
        api.get_hf_file_metadata(url=url, timeout=self._patience)

    async def _ask(self, repo: str, question: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.to_thread(question)
        except (*AWAY, *NONSENSE) as error:
            raise self._refusal(repo, error) from error

    def _refusal(self, repo: str, error: Exception) -> Rejected:
        page = f"{self.endpoint}/{repo}"
        match error:
            case GatedRepoError():
                return Rejected(
                    "gated",
                    f"{repo} is gated: its licence must be accepted first",
                    remedy=f"accept the licence at {page} and install with a token of that account",
                    url=page,
                )
            case RevisionNotFoundError():
                return Rejected(
                    "not_found",
                    f"{repo} has no such revision",
                    remedy=f"name a branch, a tag or a commit of {page}",
                )
            case RepositoryNotFoundError() | HFValidationError():
                return Rejected(
                    "not_found",
                    f"no repository {repo} on {self.endpoint}, or it is private",
                    remedy="check the name; a private repository needs --token-secret",
                )
            case DisabledRepoError():
                return Rejected("not_found", f"{repo} was disabled on the Hub")
            case HfHubHTTPError() if _refused(error):
                return Rejected(
                    "not_found",
                    f"the Hub refused access to {repo}",
                    remedy="check the token named by --token-secret",
                )
            case ValueError() | TypeError() | LookupError() | AttributeError():
                return Rejected(
                    "hub_unreachable",
                    f"{self.endpoint} does not answer as a Hub does ({type(error).__name__})",
                    remedy="check HF_ENDPOINT, and whether a proxy answers in its place",
                )
            case _:
                why = type(error).__name__
                return Rejected(
                    "hub_unreachable",
                    f"{self.endpoint} does not answer ({why})",
                    remedy="check the network, HF_ENDPOINT and the proxy, then try again",
                )


def _refused(error: HfHubHTTPError) -> bool:
    return error.response.status_code in (401, 403, 404)


def planned(entry: RepoFile) -> PlannedFile:
    """LFS objects are known by their sha256, everything else by its git blob's sha1."""
    if entry.lfs is not None:
        return PlannedFile(
            entry.path, entry.lfs.size, "sha256", entry.lfs.sha256, entry.xet_hash or ""
        )
    return PlannedFile(entry.path, entry.size, "blob-sha1", entry.blob_id)


def license_of(info: ModelInfo) -> str:
    """The licence from the repository's card, else from its tags, else empty."""
    card = info.card_data.get("license") if info.card_data else None
    if isinstance(card, str):
        return card
    tags = (tag for tag in info.tags or [] if tag.startswith("license:"))
    return next(tags, "license:").removeprefix("license:")
