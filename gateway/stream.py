"""The event stream of this process: one reader of the log, a ring of frames, any number of clients.

An event is encoded once. A client is a cursor into the ring and has no queue; clients that ask for
the same and are equally far get the same bytes. They are woken together, the more rarely the longer
that takes, so that a crowd costs at most a share of the processor and never its own memory.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from prometheus_client import Gauge

from gateway.auth import Authenticator
from gateway.connections import Connections
from gateway.frames import Entry, Filter, commit_entry, line_entry, tick_entry
from gateway.settings import Settings
from schemas.live import JobLogs, LiveState
from schemas.log import Commit, EventLog, LogUnavailable

ASIDES, ASIDE_BYTES = 1024, 2 * 1024 * 1024
"""Of what is not in the log: who is too slow for it, misses some."""
CHUNK_BYTES = 64 * 1024
SHARED = 64
SHORTEST_REST = 0.02
LONGEST_REST = 0.25
REST_SHARE = 3.0
"""How much longer the pause between two wake-ups is than a wake-up takes."""

LAG = Gauge("mllm_sse_lag_seconds", "Age of the newest commit when it reached the stream")
POSITION = Gauge("mllm_sse_position", "The newest position the stream has reached")

logger = logging.getLogger(__name__)


class Ring:
    """The newest entries of a sequence that is numbered without gaps, within bounds."""

    def __init__(self, entries: int, size: int) -> None:
        self._bounds = entries, size
        self._entries: dict[int, Entry] = {}
        self._size = 0
        self.start = 0
        self.end = 0

    def restart(self, at: int) -> None:
        """Hold nothing, and expect what follows number `at`."""
        self._entries.clear()
        self._size = 0
        self.start = self.end = at

    def append(self, number: int, entry: Entry) -> None:
        if number != self.end + 1:
            self.restart(number - 1)
        self._entries[number] = entry
        self._size += entry.size
        self.end = number
        while len(self._entries) > self._bounds[0] or self._size > self._bounds[1]:
            self.start += 1
            self._size -= self._entries.pop(self.start).size

    def __getitem__(self, number: int) -> Entry:
        return self._entries[number]

    def read(self, filter: Filter, after: int, skip: int = 0) -> "Chunk":
        """What `filter` admits past `after`, which is in the ring: about a chunk of it.

        `skip` leaves out that many events of the first entry.
        """
        frames: list[bytes] = []
        size = 0
        while after < self.end and size < CHUNK_BYTES:
            after += 1
            admitted = filter.frames(self._entries[after], skip)
            skip = 0
            frames += admitted
            size += sum(map(len, admitted))
        return Chunk(b"".join(frames), len(frames), after)


class Chunk(NamedTuple):
    """Bytes for a client, how many events they are, and how far they reach."""

    data: bytes
    events: int
    reached: int


class EventStream:
    """Feeds every client. `run` it for as long as the application lives."""

    def __init__(
        self,
        log: EventLog,
        live: LiveState,
        lines: JobLogs,
        authenticator: Authenticator,
        connections: Connections,
        settings: Settings,
    ) -> None:
        self._log = log
        self._live = live
        self._lines = lines
        self._authenticator = authenticator
        self._connections = connections
        self._settings = settings
        self.commits = Ring(settings.ring_commits, settings.ring_bytes)
        self.asides = Ring(ASIDES, ASIDE_BYTES)
        self.ready = asyncio.Event()
        self.pings = 0
        self._news = asyncio.Event()
        self._wake = asyncio.Event()
        self._shared: dict[tuple[Filter, int, int], tuple[Chunk, Chunk]] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_for_ever(self._follow_log))
            tasks.create_task(_for_ever(self._follow_ticks))
            tasks.create_task(_for_ever(self._follow_lines))
            tasks.create_task(self._pace())
            tasks.create_task(self._ping())
            tasks.create_task(self._connections.watch())

    async def wait(self) -> None:
        """Until there may be something new."""
        await self._wake.wait()

    def read(self, filter: Filter, after: int, aside: int) -> tuple[Chunk, Chunk]:
        """Commits, and what is not in the log, past these cursors. Shared among clients that ask
        for the same."""
        key = filter, after, aside
        shared = self._shared.get(key)
        if shared is None:
            asides = self.asides.read(filter, max(aside, self.asides.start))
            shared = self.commits.read(filter, after), asides
            if len(self._shared) < SHARED:
                self._shared[key] = shared
        return shared

    async def _follow_log(self) -> None:
        goal = await self._log.end()
        if not self.ready.is_set():
            self.commits.restart(max(0, goal - self._settings.warm_commits))
        if self.commits.end >= goal:
            self.ready.set()
        async for batch in self._log.follow(self.commits.end):
            self._hear(batch)
            if self.commits.end >= goal:
                self.ready.set()

    def _hear(self, batch: Sequence[Commit]) -> None:
        if tokens := self._authenticator.hear(batch):
            self._connections.end(tokens)
        for commit in batch:
            self.commits.append(commit.position, commit_entry(commit))
        POSITION.set(self.commits.end)
        LAG.set(max(0.0, (datetime.now(UTC) - batch[-1].at).total_seconds()))
        self._tell()

    async def _follow_ticks(self) -> None:
        async for tick in self._live.ticks():
            self._hear_aside(tick_entry(tick, self.commits.end))

    async def _follow_lines(self) -> None:
        async for namespace, line in self._lines.lines():
            self._hear_aside(line_entry(namespace, line, self.commits.end))

    def _hear_aside(self, entry: Entry) -> None:
        self.asides.append(self.asides.end + 1, entry)
        self._tell()

    def _tell(self) -> None:
        self._shared.clear()
        self._news.set()

    async def _pace(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            began = time.thread_time()  # of this process alone: what others take is not its own
            self._wake.set()
            self._wake.clear()
            await asyncio.sleep(0)  # every client that was woken has its turn before this one
            spent = time.thread_time() - began
            await asyncio.sleep(min(max(SHORTEST_REST, spent * REST_SHARE), LONGEST_REST))

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(self._settings.ping_seconds)
            self.pings += 1
            self._news.set()


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Begin `work` again whenever it ends: a stream that fell silent would tell nobody."""
    while True:
        try:
            await work()
        except LogUnavailable as error:
            logger.warning("the log is away: %s", error)
        except Exception:  # whatever it was, the clients are still there
            logger.exception("following failed and begins again")
        await asyncio.sleep(0.5)
