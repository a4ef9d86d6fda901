"""One client of the event stream, from its first byte to its last."""

import asyncio
import re
from collections.abc import Callable

import msgspec

from gateway import frames
from gateway.connections import Connection, Write
from gateway.frames import Filter
from gateway.history import History, Start
from gateway.stream import EventStream
from schemas.log import EventLog, LogUnavailable
from schemas.message import Rejected

PLACE = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,6}))?")
READY_SECONDS = 5.0
PING = b": ping\n\n"
HELLO = b": listening\n\n"


class Wish(msgspec.Struct, frozen=True):
    """What a client asked for. `after` is where it left off, `tail` how much of the past it wants
    when it was never here; neither means only what is yet to come."""

    filter: Filter
    after: Start | None = None
    tail: int | None = None
    epoch: str = ""


def place(text: str) -> Start:
    """A `<position>` or `<position>.<index>` of the last event that a client has seen.

    Raises `Rejected` with `invalid`.
    """
    match = PLACE.fullmatch(text)
    if match is None:
        raise Rejected("invalid", "a place in the log is <position> or <position>.<index>")
    position, index = int(match[1]), match[2]
    if index is None or position == 0:
        return Start(position)
    return Start(position - 1, int(index) + 1)


class Subscriptions:
    """Opens subscriptions to this process's stream."""

    def __init__(
        self, log: EventLog, stream: EventStream, history: History, epoch: Callable[[], str]
    ) -> None:
        self._log = log
        self._stream = stream
        self._history = history
        self._epoch = epoch

    async def open(self, wish: Wish) -> Write:
        """What writes to the client. Raises `LogUnavailable` while there is nothing to tell."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._stream.ready.wait()
        except TimeoutError as error:
            text = "the event stream has not reached the end of the log yet"
            raise LogUnavailable(text) from error
        lost = not await self._knows(wish)

        async def write(connection: Connection) -> None:
            await self._write(connection, wish, lost)

        return write

    async def _knows(self, wish: Wish) -> bool:
        """Whether the client's place is one in this log."""
        if wish.epoch and wish.epoch != self._epoch():
            return False
        if wish.after is None:
            return True
        seen = wish.after.position + bool(wish.after.skip)
        return seen <= self._stream.commits.end or seen <= await self._log.end()

    async def _write(self, connection: Connection, wish: Wish, lost: bool) -> None:
        end = self._stream.commits.end
        pulse = Pulse(self._stream)
        if lost:
            await connection.write(HELLO + frames.reset(self._epoch(), end))
        else:
            await connection.write(HELLO)
            if wish.after is not None or wish.tail is not None:
                end = await self._seed(connection, wish, pulse)
        await self._live(connection, wish.filter, end, pulse)

    async def _seed(self, connection: Connection, wish: Wish, pulse: "Pulse") -> int:
        """Write the past that was asked for; the position up to which that is."""
        start = wish.after or await self._history.tail(wish.filter, wish.tail or 0)
        goal, count = self._stream.commits.end, 0
        await connection.write(frames.seed_start(start.position))
        while start.position < goal:
            chunk = await self._history.chunk(wish.filter, start)
            start = Start(chunk.reached)
            count += chunk.events
            if data := pulse.keep(chunk.data):
                await connection.write(data)
        await connection.write(frames.seed_complete(count, start.position))
        return start.position

    async def _live(
        self, connection: Connection, filter: Filter, after: int, pulse: "Pulse"
    ) -> None:
        stream, aside = self._stream, self._stream.asides.end
        while True:
            if after < stream.commits.start:  # a slow reader, overtaken by the ring
                chunk = await self._history.chunk(filter, Start(after))
                after, data = chunk.reached, chunk.data
            else:
                commits, asides = stream.read(filter, after, aside)
                after, aside = commits.reached, asides.reached
                data = commits.data + asides.data if asides.data else commits.data
            if data := pulse.keep(data):
                await connection.write(data)
            if after >= stream.commits.end:
                await stream.wait()
            else:
                await asyncio.sleep(0)


class Pulse:
    """Adds the comments that keep a quiet connection alive."""

    __slots__ = ("_seen", "_stream")

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._seen = stream.pings

    def keep(self, data: bytes) -> bytes:
        due, self._seen = self._seen != self._stream.pings, self._stream.pings
        return PING if due and not data else data
