"""Reading messages straight from a JetStream stream: batched direct get over one long-lived inbox.

The client library has no helper for it. The protocol is ADR-31 of the NATS architecture records:
one request, many replies, and an empty one with status 204 at the end (404 when there is none).
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.errors import NotFoundError

BATCH = 1000
END, MISSING, NO_RESPONDERS = "204", "404", "503"


class Stored(NamedTuple):
    """A message as the stream holds it."""

    position: int
    headers: dict[str, str]
    data: bytes


class _Ask(msgspec.Struct, omit_defaults=True):
    seq: int = 0
    next_by_subj: str = ""
    batch: int = 0


class _Reply(asyncio.Future[bool]):
    """Collects one request's messages; its result says whether more are waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Stored] = []

    def hear(self, message: Msg) -> None:
        headers = message.headers or {}
        status = headers.get("Status")
        if self.done():
            return
        if status is None:
            self.messages.append(_stored(headers, message.data))
        elif status == END:
            self.set_result(headers.get("Nats-Num-Pending", "0") != "0")
        elif status == MISSING:
            self.set_result(False)
        elif status == NO_RESPONDERS:
            self.set_exception(NoRespondersError())
        else:
            self.set_exception(NatsError(f"{status} {headers.get('Description', '')}"))


class DirectReader:
    """Reads one stream. Every method raises nats errors, or never answers when NATS or the stream
    is away: callers put a timeout around them."""

    def __init__(self, nats: Client, stream: str, patience: float) -> None:
        self._nats = nats
        self._js = nats.jetstream(timeout=patience)
        self._stream = stream
        self._inbox = nats.new_inbox()
        self._subscription: Subscription | None = None
        self._waiting: dict[str, Callable[[Msg], None]] = {}
        self._requests = 0

    async def start(self) -> None:
        self._subscription = await self._nats.subscribe(
            f"{self._inbox}.*", cb=self._hear, pending_msgs_limit=-1, pending_bytes_limit=-1
        )

    async def stop(self) -> None:
        if self._subscription is not None and not self._nats.is_closed:
            await self._subscription.unsubscribe()

    async def subject(self, subject: str) -> list[Stored]:
        """Every message on a literal subject, oldest first."""
        found: list[Stored] = []
        more = True
        while more:
            start = found[-1].position + 1 if found else 1
            ask = _Ask(seq=start, next_by_subj=subject, batch=BATCH)
            messages, more = await self._ask(ask)
            found += messages
        return found

    async def position(self, position: int) -> Stored | None:
        """The message at one place in the stream, or None."""
        messages, _ = await self._ask(_Ask(seq=position, batch=1))
        return messages[0] if messages and messages[0].position == position else None

    async def newest(self, subject: str) -> int:
        """The last sequence on a subject as the stream's leader knows it; 0 when there is none."""
        last = await self.last(subject, fresh=True)
        return last.position if last is not None else 0

    async def last(self, subject: str, *, fresh: bool) -> Stored | None:
        """The last message on a subject: as the stream's leader knows it, or whoever is asked."""
        while True:
            try:
                found = await self._js.get_last_msg(self._stream, subject, direct=not fresh)
            except NotFoundError:
                return None
            except NoRespondersError:  # as while a server starts or a stream is being made
                if fresh:
                    raise
                await asyncio.sleep(0.05)
            else:
                return Stored(found.seq or 0, found.headers or {}, found.data or b"")

    async def _ask(self, ask: _Ask) -> tuple[list[Stored], bool]:
        while True:
            try:
                return await self._ask_once(ask)
            except NoRespondersError:  # as while a server starts or a stream is being made
                await asyncio.sleep(0.05)

    async def _ask_once(self, ask: _Ask) -> tuple[list[Stored], bool]:
        self._requests += 1
        token = str(self._requests)
        reply = _Reply()
        self._waiting[token] = reply.hear
        try:
            await self._nats.publish(
                f"$JS.API.DIRECT.GET.{self._stream}",
                msgspec.json.encode(ask),
                reply=f"{self._inbox}.{token}",
            )
            more = await reply
        finally:
            self._waiting.pop(token, None)
        return reply.messages, more

    async def _hear(self, message: Msg) -> None:
        token = message.subject.rpartition(".")[2]
        with contextlib.suppress(KeyError):  # a late answer to a request that was given up
            self._waiting[token](message)


def _stored(headers: dict[str, str], data: bytes) -> Stored:
    return Stored(int(headers["Nats-Sequence"]), headers, data)
