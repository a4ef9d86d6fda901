"""Writes that may be sent twice: an `Idempotency-Key` brings the first answer again.

The key also brings the ids that the first try was given, so a write that was cut off before its
answer was remembered is, when it is tried again, the same write.
"""

import hashlib
import re

import msgspec
from litestar import Request
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Send
from litestar.types import Scope as ASGIScope

from gateway.admission import AnyRequest
from gateway.caller import Caller
from gateway.media_types import JSON
from schemas.idempotency import Answer, IdempotencyKeys
from schemas.message import Rejected

HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x21-\x7e]{1,255}")
REMEMBERED = "remembered_answer"
WRITES = frozenset({"POST", "PUT", "DELETE"})


class Idempotency(ASGIMiddleware):
    """Stands between `Admission` and the route."""

    scopes = (ScopeType.HTTP,)
    exclude_opt_key = "passes_on"
    """What is passed on is whoever gets it to remember; its body is not read here."""

    def __init__(self, keys: IdempotencyKeys) -> None:
        self._keys = keys

    async def handle(
        self, scope: ASGIScope, receive: Receive, send: Send, next_app: ASGIApp
    ) -> None:
        request: AnyRequest = Request(scope, receive, send)
        key = request.headers.get(HEADER)
        caller: Caller | None = scope["state"].get("caller")
        if key is None or caller is None or request.method not in WRITES:
            await next_app(scope, receive, send)
            return
        if not KEY.fullmatch(key):
            raise Rejected("invalid", f"{HEADER} takes 1 to 255 visible ASCII characters")
        known = await self._keys.claim(
            caller.scope, key, await _fingerprint(request, key, caller), caller.seed
        )
        if known.answer is not None:
            await _replay(known.answer, send)
            return
        scope["state"]["caller"] = msgspec.structs.replace(caller, seed=known.seed)
        recording = Recording()
        await next_app(scope, receive, recording.take)
        if recording.status < 300:  # a refusal changed nothing, and may be granted another time
            body = scope["state"].get(REMEMBERED, bytes(recording.body))
            await self._keys.answer(caller.scope, key, Answer(recording.status, body))
        for message in recording.messages:
            await send(message)


class Recording:
    """An answer that is held back until it is remembered."""

    def __init__(self) -> None:
        self.status = 500
        self.body = bytearray()
        self.messages: list[Message] = []

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        self.messages.append(message)


def remember_instead(request: AnyRequest, body: bytes) -> None:
    """Have `body` replayed rather than the answer itself, which holds what is shown only once."""
    request.scope["state"][REMEMBERED] = body


async def _fingerprint(request: AnyRequest, key: str, caller: Caller) -> str:
    """What has to be the same when a key comes again. Salted, for a body may hold a secret."""
    digest = hashlib.sha256(f"{caller.scope}\n{key}\n{request.method}\n".encode())
    digest.update(f"{request.scope['path']}\n".encode())
    digest.update(request.scope["query_string"] + b"\n")
    digest.update(await request.body())
    return digest.hexdigest()


async def _replay(answer: Answer, send: Send) -> None:
    headers = [(b"idempotency-replayed", b"true")]
    if answer.body:
        headers.append((b"content-type", JSON.encode()))
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
