"""One exchange with an engine: HTTP/1.1 on a connection of its own, streamed both ways.

A connection carries one request. An engine that is to leave is stopped once nobody is connected to
it: idle connections of a pool would hold that up, or be cut under the next request. On loopback a
new connection costs a tenth of a millisecond.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

CONNECT_SECONDS = 5.0
READ_BYTES = 64 * 1024
MOST_HEAD_BYTES = 128 * 1024
BODILESS = frozenset({204, 304})
HIGHEST_STATUS = 599

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class Refused(Exception):
    """Nobody takes connections there; nothing was sent."""


class Gone(Exception):
    """The engine went away, or said nonsense, before its answer was whole."""


class Request(NamedTuple):
    """What an engine is asked. `target` is the path with its query; `length` is None for a body
    that is sent in chunks as it comes."""

    method: bytes
    target: bytes
    headers: Headers
    length: int | None = 0


class Head(NamedTuple):
    status: int
    headers: Headers


class Answer:
    """An answer as it is parsed. `parts` are the parts of its body that nobody has taken yet."""

    def __init__(self, method: bytes) -> None:
        self.head: Head | None = None
        self.parts: list[bytes] = []
        self.ended = False
        self._bodiless = method == b"HEAD"
        self._until_close = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._fed = 0
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Nothing is the end of the connection. Raises `Gone`."""
        if not data:
            if not self._until_close:
                raise Gone("the connection ended")
            self.ended = True
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.ended:
                raise Gone("that is no HTTP") from error
        self._fed += len(data)
        if self.head is None and self._fed > MOST_HEAD_BYTES:
            raise Gone("its headers have no end")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:  # not those after the body
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.head is not None:  # another answer, which nobody has asked for
            return
        status = self._parser.get_status_code()
        if status > HIGHEST_STATUS:
            raise Gone(f"{status} is no status")
        if status < 200:  # said in between: the answer is yet to come
            self._headers = []
            return
        self.head = Head(status, self._headers)
        names = {name for name, _ in self._headers}
        self._until_close = not names & {b"content-length", b"transfer-encoding"}
        self.ended = self._bodiless or status in BODILESS

    def on_body(self, data: bytes) -> None:
        if not self.ended:
            self.parts.append(data)

    def on_message_complete(self) -> None:
        self.ended = self.head is not None


class Exchange:
    """One request to the engine below `url`. Whoever opened it has to close it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        url: SplitResult,
        request: Request,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._begin = _begin(url, request)
        self._in_chunks = request.length is None
        self._answer = Answer(request.method)

    async def send(self, body: AsyncIterator[bytes]) -> None:
        """The whole request, no faster than it is taken. Raises `OSError`."""
        unsent = self._begin  # goes out with the first part: most bodies have only one
        async for part in body:
            framed = b"%x\r\n%b\r\n" % (len(part), part) if self._in_chunks else part
            self._writer.write(unsent + framed)
            unsent = b""
            await self._writer.drain()
        self._writer.write(unsent + (b"0\r\n\r\n" if self._in_chunks else b""))

    async def head(self) -> Head:
        """How the answer begins. Raises `Gone`."""
        while self._answer.head is None:
            await self._read()
        return self._answer.head

    async def body(self) -> AsyncIterator[bytes]:
        """The answer's body, as it comes. Raises `Gone`."""
        while True:
            parts, self._answer.parts = self._answer.parts, []
            if parts:
                yield b"".join(parts)
            elif self._answer.ended:
                return
            else:
                await self._read()

    def close(self) -> None:
        """At once: an engine whose client has left has nothing more to say."""
        self._writer.transport.abort()

    async def _read(self) -> None:
        try:
            data = await self._reader.read(READ_BYTES)
        except OSError as error:
            raise Gone("the connection broke off") from error
        self._answer.feed(data)


async def begin(url: str, request: Request) -> Exchange:
    """Connect to the engine below `url`; nothing is said yet. Raises `Refused`."""
    engine = urlsplit(url)
    secure = engine.scheme == "https"
    port = engine.port or (443 if secure else 80)
    context = ssl.create_default_context() if secure else None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                engine.hostname, port, ssl=context, limit=READ_BYTES
            )
    except (OSError, TimeoutError) as error:
        raise Refused(f"{engine.netloc} takes no connections") from error
    return Exchange(reader, writer, engine, request)


def _begin(engine: SplitResult, request: Request) -> bytes:
    base = engine.path.rstrip("/").encode()
    lines = [
        b"%b %b%b HTTP/1.1" % (request.method, base, request.target),
        b"host: " + engine.netloc.rpartition("@")[2].encode(),
        b"connection: close",
        *(b"%b: %b" % header for header in request.headers),
    ]
    if request.length is None:
        lines.append(b"transfer-encoding: chunked")
    elif request.length or request.method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"content-length: %d" % request.length)
    return b"\r\n".join([*lines, b"", b""])
