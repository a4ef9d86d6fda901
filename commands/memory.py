"""An event log in a list, for tests of what surrounds it: the promises of the real one, kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from schemas.log import AnyEvent, Commit, Conflict, Head, Stream, head
from schemas.message import Context


class MemoryLog:
    def __init__(self) -> None:
        self._commits: list[Commit] = []
        self._moved = asyncio.Condition()

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        return [commit for commit in self._commits if commit.stream == stream]

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        async with self._moved:
            if head(await self.load(stream)).position != at.position:
                raise Conflict(str(stream))
            commit = new_commit(len(self._commits) + 1, stream, at, events, context)
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


def new_commit(
    position: int, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
) -> Commit:
    """The commit that `events` become, chained to the one before it."""
    return Commit(
        position=position,
        stream=stream,
        at=context.at,
        command=context.command,
        actor=context.actor,
        correlation=context.correlation or context.command,
        causation=context.causation,
        traceparent=context.traceparent,
        previous=at.hash,
        types=tuple(str(type(event).__struct_config__.tag) for event in events),
        data=msgspec.json.encode(events),
    )
