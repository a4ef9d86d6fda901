"""Looking after who relies on which weights: what a crash left half done, and models whose weights
came after them.

Every change is decided by whoever owns it, so looking too often, or two at once, does no harm.
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Protocol

from msgspec import structs
from ulid import ULID

from processors.followed import Followed
from processors.work import QueueError
from schemas.log import Commit, LogUnavailable
from schemas.message import Context, Rejected
from schemas.upcasting import UnknownEvent
from schemas.weights import WeightsInstalled

ALL_SECONDS = 600.0
TROUBLE_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Mending(Protocol):
    """Both raise `LogUnavailable`, and `Rejected` when things keep changing under them."""

    async def target(self, target: str, context: Context) -> None:
        """Let those rely on a target who need it, and nobody else."""
        ...

    async def all(self, context: Context) -> None:
        """The same for everything there is."""
        ...


class Mender:
    def __init__(self, log: Followed, mending: Mending) -> None:
        self._log = log
        self._mending = mending

    async def run(self) -> None:
        """Look at everything now and then, and at weights that have been installed; for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._now_and_then())
            group.create_task(self._when_installed())

    async def _now_and_then(self) -> None:
        while True:
            mended = await self._tried("everything")
            await asyncio.sleep(ALL_SECONDS if mended else TROUBLE_SECONDS)

    async def _when_installed(self) -> None:
        while True:
            try:
                async for commits in self._log.follow(await self._log.end()):
                    for commit in commits:
                        await self._installed(commit)
            except (LogUnavailable, *QueueError) as error:
                logger.warning("the log can not be followed now: %s", error)
                await asyncio.sleep(TROUBLE_SECONDS)

    async def _installed(self, commit: Commit) -> None:
        if "weights.installed" not in commit.types:
            return
        try:
            installed = [e for e in commit.events if isinstance(e, WeightsInstalled)]
        except UnknownEvent:
            return  # a newer build wrote it, and looks after it
        for event in installed:
            await self._tried(event.target, commit.stream.namespace)

    async def _tried(self, what: str, namespace: str = "") -> bool:
        context = Context(command=f"mending/{ULID()}", at=datetime.now(UTC), actor="mending")
        try:
            if namespace:
                await self._mending.target(what, structs.replace(context, namespace=namespace))
            else:
                await self._mending.all(context)
        except (LogUnavailable, Rejected, *QueueError) as error:
            logger.warning("who relies on %s is not looked at yet: %s", what, error)
            return False
        return True
