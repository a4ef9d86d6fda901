"""What an install would bring and whether it can, before anything is promised."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from processors.choice import choose
from processors.fetch.layout import check_paths
from processors.hub import Listing
from schemas.disk import Disk
from schemas.live import StoreBeat
from schemas.message import Rejected
from schemas.plan import Plan, PlannedFile, Wanted, content_key
from schemas.secrets import Secrets

FRESH = timedelta(seconds=60)
SECONDS = 10


class Lister(Protocol):
    """What the planner needs of the Hub; `processors/hub.py` provides it."""

    async def list(self, repo: str, revision: str, token: str) -> Listing: ...


class Stores(Protocol):
    """What the planner needs of the live state."""

    async def stores(self) -> Sequence[StoreBeat]: ...


class HubPlanner:
    """A `Planner` that asks the Hub for the files and the stores for the room."""

    def __init__(self, hub: Lister, stores: Stores, secrets: Secrets, default_store: str) -> None:
        self._hub = hub
        self._stores = stores
        self._secrets = secrets
        self._default_store = default_store

    async def plan(self, wanted: Wanted, namespace: str) -> Plan:
        try:
            async with asyncio.timeout(SECONDS):
                return await self._plan(wanted, namespace)
        except TimeoutError as error:
            raise Rejected("hub_unreachable", "the Hub took too long to answer") from error

    async def _plan(self, wanted: Wanted, namespace: str) -> Plan:
        token = ""
        if wanted.token_secret:
            token = await self._secrets.get(namespace, wanted.token_secret)
        listing = await self._hub.list(wanted.repo, wanted.revision, token)
        files, left_out = choose(listing.files, wanted.include, wanted.exclude)
        if not files:
            raise Rejected("nothing_to_install", f"no file of {wanted.repo} was chosen")
        check_paths([file.path for file in files])
        store = wanted.store or self._default_store
        return Plan(
            repo=wanted.repo,
            revision=wanted.revision,
            commit=listing.commit,
            target=wanted.target or wanted.repo,
            store=store,
            files=files,
            left_out=left_out,
            bytes=total(files),
            key=content_key(wanted.repo, listing.commit, files),
            license=listing.license,
            disk=room(store, await self._stores.stores(), total(files)),
        )


def total(files: Sequence[PlannedFile]) -> int:
    return sum(file.size for file in files)


def room(store: str, beats: Sequence[StoreBeat], needed: int) -> Disk | None:
    """What would stay free in the store; None when none of its workers has spoken lately.

    Raises `Rejected` with `unknown_store` when only other stores have workers.
    """
    now = datetime.now(UTC)
    fresh = [beat for beat in beats if now - beat.at < FRESH]
    beat = next((beat for beat in fresh if beat.store == store), None)
    if beat is None:
        if fresh:
            known = ", ".join(sorted({beat.store for beat in fresh}))
            raise Rejected("unknown_store", f"no worker mounts store {store}; there is: {known}")
        return None
    return Disk(beat.free, beat.reserve, beat.free - needed)
