"""What passes from a client to an engine and back: paths, headers, bodies of a certain size."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import unquote_to_bytes

from litestar.types import HTTPReceiveMessage, HTTPScope, Receive, WebSocketReceiveMessage

from gateway.engines import BODILESS, Head, Headers, Request
from schemas.message import Rejected

MOST_BODY_BYTES = 64 * 1024 * 1024
KEPT_BYTES = 1024 * 1024
"""How much of a body is kept to be sent again, until an engine has begun to answer."""

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
NOT_THE_ENGINES = HOP_BY_HOP | {
    b"authorization", b"content-length", b"cookie", b"expect", b"host", b"idempotency-key",
    b"traceparent", b"x-mllm-namespace", b"x-request-id",
}  # fmt: skip
"""Headers of requests that are for the gateway, or that it says itself."""

NOT_THE_CLIENTS = HOP_BY_HOP | {
    b"alt-svc", b"clear-site-data", b"date", b"service-worker-allowed", b"set-cookie",
    b"strict-transport-security", b"x-lighttpd-send-file", b"x-reproxy-url", b"x-request-id",
    b"x-sendfile",
}  # fmt: skip
"""Headers of answers that are between the two, or that the gateway says itself, or that speak to a
proxy before the gateway, or for all of its origin."""

TO_PROXIES = b"x-accel-"
"""How headers begin that nginx takes as orders: to send a file of its own, for one."""

SEGMENT = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%-]*")
QUERY = re.compile(rb"[\x21-\x7e]*")
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class TooLarge(Exception):
    """A body that has more bytes than may pass."""


class Body:
    """A request's body as it arrives. It can be taken again while little of it has been taken."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._kept: list[bytes] | None = []
        self._size = 0
        self._whole = False
        self.left = False
        """Whether the client has gone."""
        self.too_large = False

    async def receive(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        """The client's next message, once there is room for what it brings."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.left = True
        elif message["type"] == "http.request":
            await self._arrived.put(message["body"])
            if not message["more_body"]:
                await self._arrived.put(None)
        return message

    @property
    def again(self) -> bool:
        """Whether it can be taken from its beginning."""
        return self._kept is not None

    async def parts(self) -> AsyncIterator[bytes]:
        """The body, from its beginning. Raises `TooLarge`."""
        for kept in tuple(self._kept or ()):
            yield kept
        while not self._whole:
            part = await self._arrived.get()
            if part is None:
                self._whole = True
            elif part:
                self._keep(part)
                yield part

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MOST_BODY_BYTES:
            self.too_large = True
            raise TooLarge
        if self._kept is not None:
            self._kept = [*self._kept, part] if self._size <= KEPT_BYTES else None


def outgoing(scope: HTTPScope, slot: str, own: Mapping[str, str]) -> Request:
    """The request as an engine gets it, with the gateway's `own` headers.

    Raises `Rejected`: `invalid` for a path or a query that no engine should see, `too_large`.
    """
    headers = [(name.lower(), value) for name, value in scope["headers"]]
    dropped = NOT_THE_ENGINES | _named(headers)
    said = [(name, value) for name, value in headers if name not in dropped]
    said += [(name.encode(), value.encode()) for name, value in own.items() if value]
    method = scope["method"].encode()
    return Request(method, target(scope, slot), said, _length(dict(headers)))


def returned(head: Head) -> Headers:
    """An answer's headers as the client gets them."""
    dropped = NOT_THE_CLIENTS | _named(head.headers)
    if head.status in BODILESS:
        dropped |= {b"content-length"}  # of a body that does not come
    passed = [
        (name, value)
        for name, value in head.headers
        if name not in dropped and not name.startswith(TO_PROXIES)
    ]
    return [*passed, (b"x-accel-buffering", b"no")]


def target(scope: HTTPScope, slot: str) -> bytes:
    """The path below an engine's address, as the client wrote it, and the query without what is
    the gateway's. Raises `Rejected` with `invalid`."""
    segments = scope["raw_path"].split(b"/")
    if [unquote_to_bytes(part) for part in segments[:4]] != [b"", b"serve", slot.encode(), b"v1"]:
        raise Rejected("invalid", "the path has to be /serve/SLOT/v1/…, unescaped up to there")
    rest = segments[4:]
    if not all(SEGMENT.fullmatch(part) and _harmless(unquote_to_bytes(part)) for part in rest):
        raise Rejected("invalid", "the path can not hold .. or control characters")
    if not all(rest[:-1]):
        raise Rejected("invalid", "the path can not hold empty parts")
    query = scope["query_string"]
    if not QUERY.fullmatch(query):
        raise Rejected("invalid", "the query has to be plain ASCII")
    passed = b"&".join(pair for pair in query.split(b"&") if _name(pair) != b"namespace")
    return b"/".join([b"", b"v1", *rest]) + (b"?" + passed if passed else b"")


def _name(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.partition(b"=")[0])


def _harmless(segment: bytes) -> bool:
    """Whether a part of a path stays where it is, also to whoever takes `%2F` for a slash."""
    inner = re.split(rb"[/\\]", segment)
    return not CONTROL.search(segment) and not any(part in (b".", b"..") for part in inner)


def _named(headers: Headers) -> frozenset[bytes]:
    """What `Connection` names belongs to the connection alone."""
    values = b",".join(value for name, value in headers if name == b"connection")
    return frozenset(name.strip().lower() for name in values.split(b","))


def _length(headers: Mapping[bytes, bytes]) -> int | None:
    """How long the body is; None when it comes in chunks."""
    if b"transfer-encoding" in headers:
        return None
    length = int(headers.get(b"content-length", b"0"))
    if length > MOST_BODY_BYTES:
        raise Rejected("too_large", "a request to a model has at most 64 MiB")
    return length
