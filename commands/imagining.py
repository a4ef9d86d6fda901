"""What would be said: decided on the log as it is, and kept nowhere."""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from schemas.log import AnyEvent, Commit, EventLog, Head, Stream, new_commit
from schemas.message import Context


class ImaginedLog:
    """An `EventLog` on top of another, for one request. What is appended is heard here alone, and
    has no position."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._said: defaultdict[Stream, list[Commit]] = defaultdict(list)

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        return (*await self._log.load(stream, fresh=fresh), *self._said[stream])

    async def last(self, stream: Stream, *, fresh: bool = False) -> Commit | None:
        said = self._said[stream]
        return said[-1] if said else await self._log.last(stream, fresh=fresh)

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        commit = new_commit(at, stream, events, context)
        self._said[stream].append(commit)
        return commit

    def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]:
        return self._log.follow(after)

    async def fetch(self, positions: Sequence[int]) -> Sequence[Commit]:
        return await self._log.fetch(positions)

    async def end(self) -> int:
        return await self._log.end()
