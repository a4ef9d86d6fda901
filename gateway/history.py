"""The past of the event stream: from the ring's far edge back to the first commit.

It is read from the log itself, a chunk at a time, so it needs no read model. Where one answers, a
client that wants few of many events is led to them by the index instead of reading what lies
between.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from gateway.frames import Filter, commit_entry
from gateway.stream import Chunk, EventStream
from schemas.log import EventLog

FETCHED = 64
"""Commits that one chunk asks the log for: at most 16 MiB, commonly 50 KiB."""

AT_ONCE = 4
"""Clients that are caught up from the log at the same moment; the others wait their turn."""

WORTH_ASKING = 8 * FETCHED
"""A stretch of the past that is longer than this is looked up in the index."""

LOOKED_THROUGH = 20_000
"""Commits that are looked through for a tail when the index does not answer."""


class Found(NamedTuple):
    """Positions of commits, ascending; nothing else up to `horizon` (or down to it) matters."""

    positions: Sequence[int]
    horizon: int


class Index(Protocol):
    """Finds commits that hold events a filter admits. None when it can not say now."""

    async def after(self, filter: Filter, position: int, limit: int) -> Found | None:
        """The first of them past `position`."""
        ...

    async def before(self, filter: Filter, position: int, limit: int) -> Found | None:
        """The last of them up to `position`."""
        ...


class Start(NamedTuple):
    """Where a client begins: past `position`, and `skip` events further."""

    position: int
    skip: int = 0

    def past(self, position: int, index: int) -> bool:
        """Whether the client has yet to see the event `index` of the commit at `position`."""
        return position > self.position + 1 or (
            position == self.position + 1 and index >= self.skip
        )


class History:
    def __init__(self, log: EventLog, stream: EventStream, index: Index) -> None:
        self._log = log
        self._ring = stream.commits
        self._index = index
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def chunk(self, filter: Filter, start: Start) -> Chunk:
        """Some of what `filter` admits past `start`. Raises `LogUnavailable`."""
        if start.position >= self._ring.start:
            return self._ring.read(filter, *start)
        async with self._turns:
            found = await self._next(filter, start.position)
            commits = await self._log.fetch(found.positions)
        frames: list[bytes] = []
        for commit in commits:
            skip = start.skip if commit.position == start.position + 1 else 0
            frames += filter.frames(commit_entry(commit), skip)
        return Chunk(b"".join(frames), len(frames), found.horizon)

    async def tail(self, filter: Filter, count: int) -> Start:
        """Where the last `count` events that `filter` admits begin. Raises `LogUnavailable`."""
        start = Start(self._ring.end)
        at = newest = start.position
        while count > 0 and at > 0:
            found = await self._previous(filter, at, count, newest - at)
            if found is None:
                break
            for position, types in reversed(await self._types(filter, found.positions)):
                indexes = [index for index, type in enumerate(types) if filter.takes(type)]
                if indexes and count > 0:
                    start = Start(position - 1, indexes[max(0, len(indexes) - count)])
                    count -= len(indexes)
            at = found.horizon
        return start

    async def _next(self, filter: Filter, position: int) -> Found:
        """Which commits to read next. What the index leaves open is read whole."""
        edge = self._ring.start
        if edge - position > WORTH_ASKING and not filter.everything:
            found = await self._index.after(filter, position, FETCHED)
            if found is not None and found.horizon > position:
                known = [p for p in found.positions if p <= edge]
                return Found(known, min(found.horizon, edge))
        last = min(position + FETCHED, edge)
        return Found(range(position + 1, last + 1), last)

    async def _previous(self, filter: Filter, at: int, count: int, seen: int) -> Found | None:
        if seen >= WORTH_ASKING and at < self._ring.start:
            found = await self._index.before(filter, at, min(count, FETCHED))
            if found is not None:
                return found
            if seen >= LOOKED_THROUGH:
                return None
        first = max(0, at - FETCHED)
        return Found(range(first + 1, at + 1), first)

    async def _types(
        self, filter: Filter, positions: Sequence[int]
    ) -> Sequence[tuple[int, tuple[str, ...]]]:
        """The event types of the commits at these positions, if `filter` admits their stream."""
        inside = {p: self._ring[p] for p in positions if p > self._ring.start}
        async with self._turns:
            commits = await self._log.fetch([p for p in positions if p not in inside])
        streams = [(c.position, c.stream, c.types) for c in commits]
        streams += [(p, entry.stream, entry.types) for p, entry in inside.items()]
        return [(p, types) for p, stream, types in sorted(streams) if filter.admits(*stream)]
