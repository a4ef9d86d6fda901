"""Making slots what the log says: one keeper for each, woken by the log and by the world.

One activator at a time does this, whoever holds the lease; the others stand by.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from processors.driver import Driver, DriverUnavailable
from processors.ending import is_ending
from processors.followed import Followed
from processors.keeper import Keeper
from processors.lease import Lease, LeaseLost
from processors.work import QueueError
from schemas.log import LogUnavailable
from schemas.message import Rejected
from schemas.runtime import AGGREGATE, Slots

TROUBLE_SECONDS = 1.0

Place: TypeAlias = tuple[str, str]
"""A namespace, and a slot in it."""

logger = logging.getLogger(__name__)


class Activator:
    """Keeps every slot. `keeper` makes one that keeps a slot."""

    def __init__(
        self,
        log: Followed,
        slots: Slots,
        driver: Driver,
        lease: Lease,
        keeper: Callable[[], Keeper],
    ) -> None:
        self._log = log
        self._slots = slots
        self._driver = driver
        self._lease = lease
        self._keeper = keeper
        self._wakes: dict[Place, asyncio.Event] = {}
        self._newest: dict[Place, int] = {}

    async def run(self) -> None:
        """Keep the slots for as long as the lease is ours, for ever."""
        while True:
            try:
                async with self._lease.held():
                    await self._keep_all()
            except* (LeaseLost, LogUnavailable, OSError, *QueueError) as group:
                logger.warning("the activator stands by: %s", _first(group))
                await asyncio.sleep(TROUBLE_SECONDS)

    async def _keep_all(self) -> None:
        self._wakes, self._newest = {}, {}
        async with asyncio.TaskGroup() as group:
            end = await self._log.end()
            for place in {*await self._slots.all(), *await self._strays()}:
                self._wake(place, group)
            group.create_task(self._follow_log(end, group))
            group.create_task(self._follow_world(group))

    async def _strays(self) -> set[Place]:
        try:
            return {(p.namespace, p.slot) for p in await self._driver.present()}
        except DriverUnavailable:
            return set()  # each keeper looks for itself again

    async def _follow_log(self, after: int, group: asyncio.TaskGroup) -> None:
        async for commits in self._log.follow(after):
            for commit in commits:
                if commit.stream.aggregate == AGGREGATE:
                    place = (commit.stream.namespace, commit.stream.id)
                    self._newest[place] = commit.position
                    self._wake(place, group)

    async def _follow_world(self, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                async for place in self._driver.changes():
                    self._wake(place, group)
            except DriverUnavailable as error:
                logger.warning("changes are not seen as they happen: %s", error)
            await asyncio.sleep(TROUBLE_SECONDS)

    def _wake(self, place: Place, group: asyncio.TaskGroup) -> None:
        if place not in self._wakes:
            self._wakes[place] = asyncio.Event()
            group.create_task(self._keep(place))
        self._wakes[place].set()

    async def _keep(self, place: Place) -> None:
        keeper, wake = self._keeper(), self._wakes[place]
        while not is_ending():
            wake.clear()
            pause = await self._look(keeper, place)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await wake.wait()

    async def _look(self, keeper: Keeper, place: Place) -> float:
        try:
            return await keeper.look(*place, self._newest.get(place, 0))
        except (LogUnavailable, Rejected, *QueueError) as error:
            logger.warning("slot %s is not looked after now: %s", place[1], error)
            return TROUBLE_SECONDS
        except Exception:  # a defect about one slot must not stop the others
            logger.exception("slot %s is not looked after now", place[1])
            return TROUBLE_SECONDS


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    """One of the errors of a group, however deep; they have all one cause."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
