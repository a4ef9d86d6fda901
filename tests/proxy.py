"""A TCP proxy between a client and its server, for everything a network does wrong."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Proxy:
    """Passes everything on, unless its test says otherwise.

    `deaf`: what the client says is lost. `mute`: what the server says is lost. Bytes are lost
    wherever they happen to be, so `mend` cuts the connections. `delay`: seconds that each piece
    is held back.
    """

    def __init__(self, url: str) -> None:
        self._upstream = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.deaf = self.mute = False
        self.delay = 0.0

    @property
    def url(self) -> str:
        user, at, _ = self._upstream.netloc.rpartition("@")
        return self._upstream._replace(netloc=f"{user}{at}127.0.0.1:{self._port}").geturl()

    async def up(self) -> None:
        """Take connections, at the same address every time."""
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Cut every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Close every connection, at once and without a word."""
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Behave again; on new connections, where something is missing on the old."""
        if self.deaf or self.mute:
            self.cut()
        self.deaf = self.mute = False
        self.delay = 0.0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host, port = self._upstream.hostname, self._upstream.port
            up_reader, up_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, up_writer}
        there = asyncio.create_task(self._pipe(reader, up_writer, "deaf"))
        back = asyncio.create_task(self._pipe(up_reader, writer, "mute"))
        self._writers |= ends
        self._tasks |= {there, back}
        await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.transport.abort()
        await asyncio.gather(there, back)
        self._writers -= ends
        self._tasks -= {there, back}

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: str
    ) -> None:
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not getattr(self, lost):
                    writer.write(piece)
                    await writer.drain()


@asynccontextmanager
async def proxy(url: str) -> AsyncGenerator[Proxy]:
    """A proxy in front of the server at `url`."""
    between = Proxy(url)
    await between.up()
    try:
        yield between
    finally:
        await between.down()
