"""Answers that go on for as long as someone listens, and what ends them.

A connection ends when its reader leaves, when its token is revoked, rotated or expires, when the
reader stopped reading, and when the gateway stops. None of these costs the others anything.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Gauge

from gateway.auth import Access
from schemas.log import LogUnavailable
from schemas.message import Rejected

OPEN = Gauge("mllm_streams_open", "Answers that go on: event streams and followed logs")

logger = logging.getLogger(__name__)


class Connection:
    """One reader, for whoever writes to it."""

    __slots__ = ("_ending", "_limit", "_send", "_writing_since", "access")

    def __init__(self, access: Access, send: Send, limit: asyncio.Timeout) -> None:
        self.access = access
        self._send = send
        self._limit = limit
        self._ending = False
        self._writing_since = 0.0

    async def write(self, data: bytes) -> None:
        """Returns once there is room for more, whatever that takes."""
        self._writing_since = time.monotonic()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._writing_since = 0.0

    @property
    def writing(self) -> bool:
        return self._writing_since > 0.0

    def end(self) -> None:
        if not self._ending:
            self._ending = True
            self._limit.reschedule(asyncio.get_running_loop().time())

    def stuck(self, since: float) -> bool:
        """Whether the reader has made no room for bytes that were written before `since`."""
        return self.writing and self._writing_since < since


Write: TypeAlias = Callable[[Connection], Awaitable[None]]


class Connections:
    """All that are open, at most `most` of each token. A reader may take `patience` seconds to make
    room for the next bytes."""

    def __init__(self, patience: float, most: int) -> None:
        self._patience = patience
        self._most = most
        self._open: set[Connection] = set()
        self._by_token: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def answer(self, access: Access, media_type: str, write: Write) -> ASGIApp:
        """An answer of the bytes that `write` writes, until it returns or the connection ends.

        It raises `Rejected` with `too_many_streams` instead of beginning.
        """
        headers = [
            (b"content-type", media_type.encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
            self.refuse_another(access)
            await self._serve(access, receive, send, partial(_begin, send, start, write))

        return respond

    def refuse_another(self, access: Access) -> None:
        """Raises `Rejected` with `too_many_streams` when the token has as many as it may."""
        if self._by_token[access.token] >= self._most:
            text = f"this token has {self._most} streams open, as many as it may"
            raise Rejected("too_many_streams", text, open=self._most)

    async def _serve(self, access: Access, receive: Receive, send: Send, write: Write) -> None:
        limit = asyncio.timeout(None)
        connection = Connection(access, send, limit)
        try:
            async with limit:
                watch = asyncio.create_task(_watch(receive, connection))
                self._add(connection)
                try:
                    await write(connection)
                finally:
                    self._remove(connection)
                    watch.cancel()
        except TimeoutError:
            if not limit.expired():
                raise
        except LogUnavailable as error:
            logger.warning("a stream ends early: %s", error)
        if not connection.writing:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def end(self, tokens: Collection[str]) -> None:
        """Cut off whoever is there by one of these tokens."""
        for connection in self._open:
            if connection.access.token in tokens:
                connection.end()

    def end_all(self) -> None:
        for connection in self._open:
            connection.end()

    async def watch(self) -> None:
        """Cut off, for ever, those whose time is over."""
        while True:
            await asyncio.sleep(1.0)
            since, now = time.monotonic() - self._patience, datetime.now(UTC)
            for connection in self._open:
                if connection.stuck(since) or connection.access.expired(now):
                    connection.end()

    def _add(self, connection: Connection) -> None:
        self._open.add(connection)
        self._by_token[connection.access.token] += 1
        OPEN.set(len(self._open))

    def _remove(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._by_token[connection.access.token] -= 1
        self._by_token += Counter()  # forgets those that have none left
        OPEN.set(len(self._open))


async def _begin(send: Send, start: Message, write: Write, connection: Connection) -> None:
    await send(start)
    await write(connection)


async def _watch(receive: Receive, connection: Connection) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    connection.end()
