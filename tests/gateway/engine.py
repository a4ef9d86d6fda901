"""An engine for tests: it speaks HTTP as engines do, and goes wrong as they do, when told to."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

import msgspec

from tests.support import PATIENCE

Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Engine:
    """Answers what it was asked, unless the path says what else to do. `go` lets it go on; `words`
    are what it says when asked for that."""

    def __init__(self, name: str = "engine") -> None:
        self.name = name
        self.asked: list[Asked] = []
        self.arriving = 0
        self.open = 0
        self.go = asyncio.Event()
        self.words = b""
        self._server: asyncio.Server | None = None
        self._port = 0
        self._left = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def listen(self) -> None:
        """Take connections, at the same address every time."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take no new connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def idle(self) -> None:
        """Wait until nobody is connected any more."""
        async with asyncio.timeout(PATIENCE), self._left:
            await self._left.wait_for(lambda: self.open == 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(await self._read(reader), (reader, writer))
        finally:
            writer.close()
            self.open -= 1
            async with self._left:
                self._left.notify_all()

    async def _read(self, reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines)}
        body = bytearray()
        if "early" not in target:
            async for part in _body(reader, headers):
                body += part
                self.arriving = len(body)
        asked = Asked(method, target, headers, bytes(body))
        self.asked.append(asked)
        return asked

    async def _answer(self, asked: Asked, connection: Connection) -> None:
        reader, writer = connection
        kind = asked.target.partition("?")[0].rpartition("/")[2]
        if kind == "stream":
            await self._stream(writer)
        elif kind == "dies":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            await self.go.wait()
            writer.transport.abort()
        elif kind == "short":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        elif kind == "silent":
            await self.go.wait()
        elif kind == "nonsense":
            writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        elif kind == "words":
            writer.write(self.words)
        elif kind == "hangs":
            await reader.read()  # until the other side has gone
        elif kind == "early":
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        elif kind == "unmeasured":
            writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nas long as it takes")
        else:
            writer.write(_echo(self.name, asked))

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        """A first part at once, the second one when the test says so."""
        kind = b"content-type: text/event-stream\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + kind + b"transfer-encoding: chunked\r\n\r\n")
        writer.write(_chunk(f"data: {self.name} 1\n\n".encode()))
        await writer.drain()
        await self.go.wait()
        writer.write(_chunk(b"data: 2\n\n") + _chunk(b""))
        await writer.drain()


@asynccontextmanager
async def engine(name: str = "engine") -> AsyncGenerator[Engine]:
    """A listening engine."""
    running = Engine(name)
    await running.listen()
    try:
        yield running
    finally:
        running.refuse()
        running.go.set()
        await running.idle()


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
    if headers.get("transfer-encoding") != "chunked":
        left = int(headers.get("content-length", "0"))
        while left:
            part = await reader.readexactly(min(left, 65536))
            left -= len(part)
            yield part
        return
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _echo(name: str, asked: Asked) -> bytes:
    said = {
        "engine": name,
        "method": asked.method,
        "target": asked.target,
        "length": len(asked.body),
        "digest": sha256(asked.body).hexdigest(),
    }
    body = msgspec.json.encode(said)
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "set-cookie: mine=1\r\nx-request-id: mine\r\nx-engine: yes\r\nconnection: close, x-hop\r\n"
        "x-hop: 1\r\ndate: never\r\n\r\n"
    )
    return head.encode() + body
