"""HEAD, answered as GET is, without the body; and OPTIONS, with every method of the route."""

import asyncio
from collections.abc import Collection, Mapping

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, ReceiveMessage, Scope, Send


class Heads:
    """An ASGI application around one that knows GET only. `methods` are those of each path."""

    def __init__(self, app: ASGIApp, methods: Mapping[str, Collection[str]]) -> None:
        self._app = app
        self._allow = {path: _listed(of_path) for path, of_path in methods.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "HEAD":
            await self._app(scope, receive, self._allowing(scope, send))
            return
        answer = _Head(receive, send)
        scope["method"] = "GET"
        try:
            await self._app(scope, answer.receive, answer.send)
        finally:
            scope["method"] = "HEAD"

    def _allowing(self, scope: Scope, send: Send) -> Send:
        """Litestar knows, of a path that several handlers share, one handler's methods."""

        async def allowing(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope.get("path_template")
                message["headers"] = [
                    (name, self._allowed(path, value) if name.lower() == b"allow" else value)
                    for name, value in message["headers"]
                ]
            await send(message)

        return allowing

    def _allowed(self, path: str | None, value: bytes) -> bytes:
        """Without a path a method was refused: then Litestar named all others, but HEAD."""
        if path is None:
            return _listed(value.decode().split(", "))
        return self._allow.get(path, value)


def _listed(methods: Collection[str]) -> bytes:
    head = {"HEAD"} if "GET" in methods else set[str]()
    return ", ".join(sorted({*methods, *head, "OPTIONS"})).encode()


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
