"""Looking after jobs that nobody looks after: the work of a worker that died with its task.

Redelivery brings back nearly everything; this catches the rest (a task lost with its queue, a
schedule that never fired). It may be wrong at no cost: the guard on the log decides who works.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from processors.dispatch import Dispatcher
from processors.work import QueueError, Raced
from schemas.job import Look, Seen
from schemas.live import LiveState, Tick
from schemas.log import LogUnavailable

Unfinished = Callable[[], Awaitable[Sequence[tuple[str, str]]]]
"""Namespace and id of every job that has not ended. Raises `OSError` when that is not known now."""

SCHEDULE_GRACE = timedelta(seconds=5)

logger = logging.getLogger(__name__)


def last_sign(seen: Seen, tick: Tick | None) -> datetime | None:
    """When the newest attempt was last known to be at work; None when it said that it is not."""
    signs = [seen.started_at] if seen.started_at else []
    if tick is not None and tick.attempt == seen.job.attempt:
        if tick.released:
            return None
        signs.append(tick.at)
    return max(signs, default=None)


def alive(seen: Seen, tick: Tick | None, lease: timedelta, now: datetime) -> bool:
    """Whether a worker holds the job: it started, or gave a heartbeat, within the lease."""
    if seen.job.status != "running":
        return False
    sign = last_sign(seen, tick)
    return sign is not None and now - sign < lease


class Watchdog:
    def __init__(
        self,
        unfinished: Unfinished,
        look: Look,
        live: LiveState,
        dispatcher: Dispatcher,
        lease: float,
    ) -> None:
        self._unfinished = unfinished
        self._look = look
        self._live = live
        self._dispatcher = dispatcher
        self._lease = timedelta(seconds=lease)
        self._suspects: set[tuple[str, str]] = set()

    async def run(self, every: float) -> None:
        """Look every so many seconds, for ever."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.look()
            except (*QueueError, OSError, LogUnavailable) as error:
                logger.warning("the watchdog could not look: %s", error)

    async def look(self) -> None:
        """Dispatch what was found abandoned twice in a row: once may be a heartbeat on its way."""
        found: set[tuple[str, str]] = set()
        for namespace, job in await self._unfinished():
            try:
                seen = await self._look(namespace, job)
            except LogUnavailable as error:
                logger.warning("the watchdog can not see job %s: %s", job, error)
                continue
            if await self._abandoned(namespace, seen):
                found.add((namespace, job))
                if (namespace, job) in self._suspects:
                    with suppress(Raced):  # somebody has put its task since
                        await self._dispatcher.redispatch(namespace, seen)
        self._suspects = found

    async def _abandoned(self, namespace: str, seen: Seen) -> bool:
        now = datetime.now(UTC)
        match seen.job.status:
            case "pending":
                return True  # its task may well be there: then putting it again changes nothing
            case "retrying":
                at = seen.job.next_attempt_at
                return at is None or now > at + SCHEDULE_GRACE
            case "running":
                tick = await self._live.tick(namespace, seen.job.id)
                return not alive(seen, tick, self._lease, now)
            case _:
                return False
