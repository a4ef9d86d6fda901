"""Which bytes a stream fetches next."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from processors.fetch.incoming import Incoming
from processors.fetch.limits import MIB, Limits
from schemas.plan import PlannedFile

SPREAD = 4  # files in the making at once, as long as there are that many: their hashes run abreast
SMALLEST_PART = MIB


@dataclass(eq=False)
class Work:
    """A file in the making. `todo` are the gaps that no stream has claimed, in order.

    `whole`: the server ignores ranges, so one stream at a time fetches all that is missing.
    """

    incoming: Incoming
    todo: deque[tuple[int, int]]
    streams: int = 0
    whole: bool = False


@dataclass(frozen=True, eq=False)
class Claim:
    """Bytes [start, end) of a file, to be fetched by one stream.

    Some of them may be there already: all, if only the hash is left to do.
    """

    work: Work
    start: int
    end: int


class Schedule:
    """Thread-safe. Big files first, each cut into parts from front to back.

    Streams gather on as few files as keeps them all busy, so the bytes of a file arrive nearly in
    order and are hashed as they come; towards the end of a file its parts become smaller, so that
    its streams finish together.
    """

    def __init__(self, limits: Limits, begin: Callable[[PlannedFile], Incoming]) -> None:
        self._limits = limits
        self._begin = begin
        self._fresh: deque[PlannedFile] = deque()
        self._open: list[Work] = []
        self._unfinished = 0
        self._closed = False
        self._changed = threading.Condition()

    def expect(self, files: int) -> None:
        """Not to end before `files` more files are finished, `add`ed or not."""
        with self._changed:
            self._unfinished += files

    def add(self, files: Iterable[PlannedFile]) -> None:
        """Files to fetch, from those that are expected."""
        with self._changed:
            merged = sorted([*self._fresh, *files], key=lambda file: -file.size)
            self._fresh = deque(merged)
            self._changed.notify_all()

    def next(self) -> Claim | None:
        """The next claim, waiting for one if need be; None when all is finished, or closed."""
        with self._changed:
            while self._unfinished and not self._closed:
                if (work := self._pick()) is not None:
                    return self._cut(work)
                self._changed.wait()
            return None

    def release(self, claim: Claim) -> bool:
        """The stream is done with its claim. True if it was the last one of its file."""
        with self._changed:
            claim.work.streams -= 1
            self._changed.notify_all()
            return not claim.work.streams and not claim.work.todo

    def fetch_whole(self, claim: Claim) -> None:
        """The server ignores ranges: put the claim back, and send one stream for all there is."""
        with self._changed:
            claim.work.whole = True
            claim.work.todo.appendleft((claim.start, claim.end))

    def again(self, work: Work) -> None:
        """A file has to be fetched from scratch."""
        with self._changed:
            work.todo.append((0, work.incoming.file.size))
            self._changed.notify_all()

    def finish(self, work: Work | None = None) -> bool:
        """One file less is unfinished. True if that was the last."""
        with self._changed:
            if work is not None:
                self._open.remove(work)
            self._unfinished -= 1
            self._changed.notify_all()
            return self._unfinished == 0

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def opened(self) -> list[Incoming]:
        """The files in the making."""
        with self._changed:
            return [work.incoming for work in self._open]

    def _pick(self) -> Work | None:
        ready = [work for work in self._open if self._ready(work)]
        if self._fresh and (not ready or len(self._open) < SPREAD):
            incoming = self._begin(self._fresh.popleft())
            gaps = incoming.missing(0, incoming.file.size)
            work = Work(incoming, deque(gaps or [(0, 0)]))
            self._open.append(work)
            return work
        return min(ready, key=lambda work: work.streams, default=None)

    def _ready(self, work: Work) -> bool:
        most = 1 if work.whole else self._limits.streams_per_file
        return bool(work.todo) and work.streams < most

    def _cut(self, work: Work) -> Claim:
        work.streams += 1
        size = work.incoming.file.size
        if work.whole or size <= self._limits.part:
            start = min(start for start, _ in work.todo)
            work.todo.clear()
            return Claim(work, start, size)
        start, end = work.todo.popleft()
        cut = min(end, start + self._part(work, end - start))
        if cut < end:
            work.todo.appendleft((cut, end))
        return Claim(work, start, cut)

    def _part(self, work: Work, gap: int) -> int:
        left = gap + sum(end - start for start, end in work.todo)
        share = left * len(self._open) // self._limits.streams
        return min(self._limits.part, max(SMALLEST_PART, share))
