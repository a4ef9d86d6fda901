"""The OpenAI-compatible proxy: `/serve/{slot}/v1/…` is the model that serves in the slot.

The address stays when the model changes. Each request asks anew where the slot answers, so that a
switch takes hold at once; and what an engine that leaves has not begun to answer goes to the next.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, TypeAlias

from litestar import Controller, Router, route
from litestar.di import NamedDependency
from litestar.params import PathParameter, SkipValidation
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from gateway.admission import AnyRequest, needs
from gateway.caller import From
from gateway.connections import Connection, Connections
from gateway.ending import end
from gateway.engines import Exchange, Gone, Head, Refused, Request, begin
from gateway.passing import Body, TooLarge, outgoing, returned
from gateway.ports import EngineKey, Handed
from schemas.live import Endpoint
from schemas.log import LogUnavailable
from schemas.message import Rejected
from schemas.names import END, SLOT

PATIENCE_SECONDS = 10.0
"""How long an engine that takes no connections is tried, or whoever comes in its place."""

PAUSE_SECONDS = 0.1

SlotPath: TypeAlias = Annotated[str, PathParameter(pattern=SLOT + END, description="A slot.")]
RestPath: TypeAlias = Annotated[str, PathParameter(description="What the engine knows by it.")]
Open: TypeAlias = NamedDependency[SkipValidation[Connections]]

logger = logging.getLogger(__name__)


Ask: TypeAlias = Callable[[str, str], Awaitable[Endpoint | None]]
Look: TypeAlias = Callable[[], Awaitable[Endpoint]]


class NotServing(Rejected):
    """Nobody answers in the slot now."""

    def __init__(self, text: str) -> None:
        super().__init__("not_serving", text)


class EngineFailed(Rejected):
    """The engine took the request, and did not answer."""

    def __init__(self, text: str) -> None:
        super().__init__("engine_failed", text)


class Whereabouts:
    """Where slots answer. While the log is away, or has forgotten what was said long ago, they are
    thought to answer where they did: that one answers nowhere is said, too."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], Endpoint] = {}

    async def find(self, ask: Ask, namespace: str, slot: str) -> Endpoint:
        """Raises `NotServing`."""
        key = (namespace, slot)
        found = self._last.get(key)
        with suppress(LogUnavailable):
            found = await ask(namespace, slot) or found
        if found is None or not found.url:
            self._last.pop(key, None)
            raise NotServing(f"no model serves in {slot}")
        self._last[key] = found
        return found


class Place:
    """Where one request goes: `now` is where the slot answered when it was last looked at."""

    def __init__(self, look: Look, now: Endpoint, key: EngineKey) -> None:
        self._look = look
        self._key = key
        self.now = now

    async def look(self) -> None:
        """Raises `NotServing`."""
        self.now = await self._look()

    async def begin(self, request: Request) -> Exchange:
        """Go there, with the key that whoever serves there asks for. Raises `Refused`."""
        if key := self._key(self.now):
            shown = (b"authorization", f"Bearer {key}".encode())
            request = request._replace(headers=[*request.headers, shown])
        return await begin(self.now.url, request)


class Passage:
    """One request on its way to an engine, and the answer on its way back."""

    def __init__(self, place: Place, request: Request, receive: Receive, send: Send) -> None:
        self.body = Body(receive)
        self.begun = False
        self._place = place
        self._request = request
        self._send = send
        self._whole = False

    async def write(self, connection: Connection) -> None:
        """Answer. Raises `NotServing`, `EngineFailed` and `Rejected`, before anything is said."""
        async with self._answered() as (exchange, head):
            headers = returned(head)
            self.begun = True
            await self._send(
                {"type": "http.response.start", "status": head.status, "headers": headers}
            )
            try:
                async for part in exchange.body():
                    await connection.write(part)
            except Gone as error:
                logger.warning("an answer was cut off: %s", error)
            else:
                self._whole = True

    async def send(self, message: Message) -> None:
        """What is said around the answer's parts: the engine's own head takes the place of any
        other, and nothing says that an answer is over which is not."""
        if message["type"] == "http.response.body" and (message["more_body"] or self._whole):
            await self._send(message)

    @asynccontextmanager
    async def _answered(self) -> AsyncGenerator[tuple[Exchange, Head]]:
        """An engine that has begun to answer."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                async with self._sent(await self._place.begin(self._request)) as exchange:
                    head = await self._head(exchange)
                    if head is not None:
                        yield exchange, head
                        return
            except Refused as error:
                if time.monotonic() > until:
                    model = self._place.now.model
                    raise NotServing(f"{model} takes no connections now") from error
                await asyncio.sleep(PAUSE_SECONDS)
                await self._place.look()

    @asynccontextmanager
    async def _sent(self, exchange: Exchange) -> AsyncGenerator[Exchange]:
        """The request goes out while its answer comes in."""
        sending = asyncio.create_task(self._upload(exchange))
        try:
            yield exchange
        finally:
            exchange.close()
            await end(sending)

    async def _upload(self, exchange: Exchange) -> None:
        try:
            await exchange.send(self.body.parts())
        except OSError:
            return  # who stops listening may have answered already: the answer tells
        except TooLarge:
            exchange.close()

    async def _head(self, exchange: Exchange) -> Head | None:
        """None when another serves by now, who can be asked in place of one who went away."""
        try:
            return await exchange.head()
        except Gone as error:
            if self.body.too_large:
                raise Rejected("too_large", "a request to a model has at most 64 MiB") from error
            asked = self._place.now
            await self._place.look()
            if self.body.again and self._place.now.activation != asked.activation:
                return None
            raise EngineFailed(f"{asked.model} did not answer: {error}") from error


class Serving(Controller):
    """Models, under one address for each slot."""

    path = "/serve/{slot:str}/v1"
    tags = ("runtime",)

    def __init__(self, owner: Router) -> None:
        super().__init__(owner)
        self._whereabouts = Whereabouts()

    @route(
        "/{path:path}",
        http_method=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
        opt=needs("read") | {"passes_on": True},
        status_code=200,
    )
    async def serve(
        self,
        slot: SlotPath,
        path: RestPath,
        caller: From,
        request: AnyRequest,
        ports: Handed,
        connections: Open,
    ) -> ASGIApp:
        """Ask the model that serves in the slot, as OpenAI's API is asked.

        Whatever its engine knows below `/v1`: `chat/completions`, `completions`, `embeddings`,
        `models`. Bodies of up to 64 MiB pass, and answers as they come. Without a model that
        answers it is 503 `not_serving`; an engine that takes a request and then goes away is 502
        `engine_failed`, or, once it has begun to answer, the end of the connection.
        """
        own = {"x-request-id": caller.request_id, "traceparent": caller.traceparent}
        asked = outgoing(request.scope, slot, own)
        look = partial(self._whereabouts.find, ports.live.endpoint, caller.namespace, slot)
        place = Place(look, await look(), ports.engine_key)

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            passage = Passage(place, asked, receive, send)
            write = connections.answer(caller.access, "", passage.write)
            await write(scope, passage.body.receive, passage.send)
            if not (passage.begun or passage.body.left):
                raise NotServing("this gateway is about to stop")

        return respond
