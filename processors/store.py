"""The weights volume that a worker mounts: its room, its layout, and keeping both in order."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from processors.fetch import commit as place
from processors.fetch.layout import Layout
from processors.steps import unfenced
from processors.work import QueueError
from schemas.job import Job, Look
from schemas.live import StoreBeat
from schemas.log import LogUnavailable

BEAT_SECONDS = 10.0
SWEEP_SECONDS = 600.0
KEEP_FAILED = timedelta(days=7)

logger = logging.getLogger(__name__)


class Room(NamedTuple):
    """Bytes of a file system."""

    total: int
    free: int


class Store(msgspec.Struct, frozen=True):
    """One volume. `reserve` is how many bytes are always left free on it, and `beside` it where the
    log and the database are, if that is on this machine."""

    name: str
    weights: Path
    reserve: int
    beside: tuple[Path, ...] = ()

    @property
    def layout(self) -> Layout:
        return Layout(self.weights)

    def room(self, directory: Path) -> Room:
        """The file system of `directory`, for weights. It is as good as full while another one has
        less than the reserve left, for whatever is done with weights is written down there."""
        usage = shutil.disk_usage(directory)
        others = (shutil.disk_usage(other).free for other in self.beside)
        short = (free for free in others if free < self.reserve)
        return Room(usage.total, min((usage.free, *short)))


class Beats(Protocol):
    """Where room is reported to."""

    async def say_store(self, beat: StoreBeat) -> None: ...


class Partial(NamedTuple):
    """What the attempts of one job left in the staging area."""

    namespace: str
    job: str
    path: Path


class StoreKeeper:
    """Says how much room there is, and sweeps away what no job will come back for.

    `room` is the store's own, unless said. A file system that does not answer, as a network's may
    not, holds up this keeper, and one thread, and nobody else.
    """

    def __init__(
        self,
        store: Store,
        worker: str,
        beats: Beats,
        look: Look,
        room: Callable[[Path], Room] | None = None,
    ) -> None:
        self._store = store
        self._worker = worker
        self._beats = beats
        self._look = look
        self._room = room or store.room

    async def run(self) -> None:
        """Keep the store, for ever."""
        await asyncio.to_thread(self._store.weights.mkdir, parents=True, exist_ok=True)
        since_sweep = SWEEP_SECONDS
        while True:
            try:
                await self._beats.say_store(await self.beat())
                if since_sweep >= SWEEP_SECONDS:
                    await self.sweep()
                    since_sweep = 0.0
            except (*QueueError, LogUnavailable, OSError) as error:
                logger.warning("store %s: %s", self._store.name, error)
            await asyncio.sleep(BEAT_SECONDS)
            since_sweep += BEAT_SECONDS

    async def beat(self) -> StoreBeat:
        total, free = await asyncio.to_thread(self._room, self._store.weights)
        return StoreBeat(
            store=self._store.name,
            worker=self._worker,
            at=datetime.now(UTC),
            free=free,
            total=total,
            reserve=self._store.reserve,
        )

    async def sweep(self) -> None:
        """Remove partial downloads of jobs that ended and of which nobody asked to keep them."""
        layout = self._store.layout
        for partial in await asyncio.to_thread(partials, layout):
            seen = await self._look(partial.namespace, partial.job)
            if stale(seen.job, partial.path):
                await asyncio.to_thread(place.discard, partial.path, layout.trash, unfenced)
                logger.info("removed what job %s had left behind", partial.job)
        await asyncio.to_thread(place.empty, layout.trash)


def partials(layout: Layout) -> list[Partial]:
    folders = sorted(layout.staging.glob("*/*")) if layout.staging.is_dir() else []
    return [Partial(path.parent.name, path.name, path) for path in folders if path.is_dir()]


def stale(job: Job, path: Path) -> bool:
    """A failed job's bytes are kept a week for its retry; an unknown job's are nobody's."""
    if job.status in ("absent", "completed"):
        return True
    if job.status == "cancelled":
        return not job.keep_partial
    if job.status == "failed":
        age = datetime.now(UTC) - datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return age > KEEP_FAILED
    return False
