"""Reading the log once for all read models of a process that are at about the same place in it."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from typing import Protocol

from schemas.log import Commit

KEPT = 8000
"""Commits that are kept for those who are not as far yet."""

BATCH = 4000
"""Commits that a follower is given at once, at most."""

PATIENCE = 1.0
"""Seconds that the others wait for who falls behind; then it has to read on by itself."""


class Log(Protocol):
    """What read models need of the event log; see `schemas.log.EventLog`."""

    def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]: ...

    async def end(self) -> int: ...


class SharedLog:
    """A log whose followers share one reading of it while they are close together."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._readings: list[_Reading] = []

    async def end(self) -> int:
        return await self._log.end()

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Commit]]:
        """As a log's: every commit past `after`, in order, for ever."""
        reader = _Reader(after)
        try:
            while True:
                batch = await self._join(reader).next(reader)
                if batch:
                    reader.position = batch[-1].position
                    yield batch
        finally:
            self._leave(reader)

    def _join(self, reader: "_Reader") -> "_Reading":
        """The oldest reading that has what comes next, or one of the reader's own."""
        found = next((r for r in self._readings if r.covers(reader.position)), None)
        if found is None:
            found = _Reading(self._log, reader.position)
            self._readings.append(found)
        if reader not in found.readers:
            found.readers.add(reader)
            self._leave(reader, found)
        return found

    def _leave(self, reader: "_Reader", joined: "_Reading | None" = None) -> None:
        for reading in self._readings:
            if reading is not joined:
                reading.readers.discard(reader)
            if not reading.readers:
                reading.task.cancel()
        self._readings = [reading for reading in self._readings if reading.readers]


class _Reader:
    """One follower, and how far it has come."""

    def __init__(self, position: int) -> None:
        self.position = position


class _Reading:
    """One pass over the log, and the commits it brought last: those between `first` and `last`."""

    def __init__(self, log: Log, after: int) -> None:
        self.readers: set[_Reader] = set()
        self._first = self._last = after
        self._kept: list[Commit] = []
        self._moved = asyncio.Condition()
        self._failure: Exception | None = None
        self.task = asyncio.create_task(self._read(log))

    def covers(self, position: int) -> bool:
        return self._failure is None and self._first <= position <= self._last

    async def next(self, reader: _Reader) -> Sequence[Commit]:
        """What comes next for the reader; nothing if that is not here any more.

        Raises whatever ended the reading.
        """
        async with self._moved:
            self._moved.notify_all()  # this reader has come further
            await self._moved.wait_for(lambda: self._last > reader.position or self._failure)
            if self._failure is not None:
                raise self._failure
            if not self.covers(reader.position):
                return ()
            start = bisect_right(self._kept, reader.position, key=lambda commit: commit.position)
            return self._kept[start : start + BATCH]

    async def _read(self, log: Log) -> None:
        try:
            async for batch in log.follow(self._last):
                async with self._moved:
                    await self._make_room(len(batch))
                    self._kept += batch
                    self._last = batch[-1].position
                    self._moved.notify_all()
        except Exception as error:  # it is for the readers to know
            async with self._moved:
                self._failure = error
                self._moved.notify_all()

    async def _make_room(self, coming: int) -> None:
        """Wait until the oldest commits have been read, but not for long."""
        surplus = min(len(self._kept), len(self._kept) + coming - KEPT)
        if surplus > 0:
            first = self._kept[surplus - 1].position
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._moved.wait_for(lambda: self._all_are_past(first))
            self._first = first
            del self._kept[:surplus]

    def _all_are_past(self, position: int) -> bool:
        here = [reader.position for reader in self.readers if self.covers(reader.position)]
        return min(here, default=position) >= position
