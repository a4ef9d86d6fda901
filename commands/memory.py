"""An event log in a list, for tests of what surrounds it: the promises of the real one, kept."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

import msgspec

from schemas.log import AnyEvent, Commit, Conflict, Head, Stream, head, new_commit
from schemas.message import Context


class MemoryLog:
    def __init__(self) -> None:
        self._commits: list[Commit] = []
        self._streams: defaultdict[str, list[Commit]] = defaultdict(list)
        self._moved = asyncio.Condition()

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        return tuple(self._streams.get(stream.path, ()))

    async def last(self, stream: Stream, *, fresh: bool = False) -> Commit | None:
        history = await self.load(stream, fresh=fresh)
        return history[-1] if history else None

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        commit = new_commit(at, stream, events, context)
        async with self._moved:
            history = self._streams[stream.path]
            if head(history).position != at.position:
                raise Conflict(str(stream))
            commit = msgspec.structs.replace(commit, position=len(self._commits) + 1)
            history.append(commit)
            self._commits.append(commit)
            self._moved.notify_all()
        return commit

    async def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]:
        while True:
            async with self._moved:
                while len(self._commits) <= after:
                    await self._moved.wait()
            batch = self._commits[after:]
            after += len(batch)
            yield batch

    async def fetch(self, positions: Sequence[int]) -> Sequence[Commit]:
        return [self._commits[p - 1] for p in positions if 0 < p <= len(self._commits)]

    async def end(self) -> int:
        return len(self._commits)

    async def ids(self, aggregate: str) -> Sequence[tuple[str, str]]:
        streams = {c.stream for c in self._commits if c.stream.aggregate == aggregate}
        return sorted((stream.namespace, stream.id) for stream in streams)
