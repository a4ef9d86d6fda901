"""HEAD, answered as GET is, without the body."""

import asyncio

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send


class Heads:
    """An ASGI application around one that knows GET only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "HEAD":
            await self._app(scope, receive, _allowing(send))
            return
        answer = _Head(receive, send)
        scope["method"] = "GET"
        try:
            await self._app(scope, answer.receive, answer.send)
        finally:
            scope["method"] = "HEAD"


def _allowing(send: Send) -> Send:
    """Where GET is allowed, HEAD is."""

    async def allowing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [_allowed(*header) for header in message["headers"]]
        await send(message)

    return allowing


def _allowed(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name.lower() != b"allow" or b"HEAD" in value:
        return name, value
    return name, value.replace(b"GET", b"GET, HEAD")


class _Head:
    """The beginning of an answer. Whoever would go on writing is told that nobody listens."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._over = asyncio.Event()
        self._asked = False

    async def receive(self) -> ReceiveMessage:
        if not self._asked:
            self._asked = True
            return await self._receive()
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
        elif not self._over.is_set():
            self._over.set()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
