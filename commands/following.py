"""Following a stream from a position, for ever, through anything that can be survived.

An ephemeral, unfiltered consumer that acknowledges nothing: the position is the reader's own
business. Messages are pulled with credit, so a slow reader holds back the server and not memory;
a consumer that is lost (a restart, a new leader, a gap in what it sends) is made again behind the
last message that was handed on.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from types import TracebackType
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from commands.direct import Stored
from schemas.log import LogUnavailable

CREDIT = 1000
CREDIT_BYTES = 8 * 1024 * 1024
HEARTBEAT = 2.0
SILENCE = 3 * HEARTBEAT
"""Seconds without a message or a heartbeat after which the consumer counts as lost."""

GLANCE = 1.0
"""Seconds between looks at whether the connection is still the same."""

MOMENT = 1.0

FIRST_PAUSE, LAST_PAUSE = 0.1, 3.0
"""Seconds until it begins again: twice as many each time that this comes to nothing."""

HEARTBEAT_STATUS = "100"
PULL_OVER = ("404", "408")
PULL_SPENT = ("Batch Completed", "Message Size Exceeds MaxBytes")

logger = logging.getLogger(__name__)


class _Pull(msgspec.Struct):
    batch: int
    max_bytes: int
    expires: int  # nanoseconds
    idle_heartbeat: int  # nanoseconds


PULL = msgspec.json.encode(
    _Pull(CREDIT, CREDIT_BYTES, int(30e9), int(HEARTBEAT * 1e9)),
)


class _Lost(Exception):
    """The consumer is gone, or skipped something."""


class Follower:
    """Everything in `stream` past `after`; `batches` reads it, inside `async with`."""

    def __init__(self, nats: Client, stream: str, after: int) -> None:
        self._nats = nats
        self._js = nats.jetstream()
        self._stream = stream
        self._after = after
        self._inbox = nats.new_inbox()
        self._subscription: Subscription | None = None
        self._arrived: deque[Msg] = deque()
        self._bell = asyncio.Event()
        self._consumer = ""
        self._connection = 0
        self._pulls = 0
        self._delivered = 0
        self._credit = 0

    async def __aenter__(self) -> "Follower":
        self._subscription = await self._nats.subscribe(
            f"{self._inbox}.*", cb=self._hear, pending_msgs_limit=-1, pending_bytes_limit=-1
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._subscription is not None and not self._nats.is_closed:
            await self._subscription.unsubscribe()
            await self._forget_consumer()

    async def batches(self) -> AsyncGenerator[list[Stored]]:
        """What has arrived since the last one, never nothing. Raises `LogUnavailable` when the
        connection is closed, which is for good, unlike everything else that can happen to it."""
        pause = FIRST_PAUSE
        while not self._nats.is_closed:
            try:
                if not self._consumer:
                    await self._make_consumer()
                _stop_if_cancelled()
                batch = await self._batch()
                pause = FIRST_PAUSE
                if batch:
                    self._after = batch[-1].position
                    yield batch
            except (_Lost, TimeoutError, NatsError) as error:
                if pause == FIRST_PAUSE:
                    why = str(error) or type(error).__name__
                    logger.warning("following %s begins again: %s", self._stream, why)
                await self._forget_consumer()
                pause = await self._rest(pause)
        raise LogUnavailable("the connection to NATS is closed")

    async def _hear(self, message: Msg) -> None:
        self._arrived.append(message)
        self._bell.set()

    async def _make_consumer(self) -> None:
        self._arrived.clear()
        self._delivered = 0
        self._connection = self._nats.stats["reconnects"]
        # Named by us, so that it can be deleted even when its making was never confirmed.
        self._consumer = secrets.token_hex(8)
        config = ConsumerConfig(
            name=self._consumer,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._after + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=60.0,
            mem_storage=True,
            num_replicas=1,
        )
        await _finished(self._js.add_consumer(self._stream, config))
        await self._pull()

    async def _forget_consumer(self) -> None:
        consumer, self._consumer = self._consumer, ""
        if consumer and self._nats.is_connected:
            try:
                await self._js.delete_consumer(self._stream, consumer)
            except (TimeoutError, NatsError) as error:
                logger.debug("consumer %s is left to expire: %s", consumer, error)

    async def _rest(self, seconds: float) -> float:
        """Wait, though not when the connection has become another; how long to wait next time."""
        until = time.monotonic() + seconds
        await asyncio.sleep(FIRST_PAUSE)
        while not self._reconnected():
            if time.monotonic() >= until:
                return min(2 * seconds, LAST_PAUSE)
            await asyncio.sleep(FIRST_PAUSE)
        return FIRST_PAUSE

    def _reconnected(self) -> bool:
        """Whether the consumer was made on another connection, or there will be none any more."""
        return self._nats.is_closed or self._nats.stats["reconnects"] != self._connection

    async def _pull(self) -> None:
        self._credit = CREDIT
        self._pulls += 1
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._nats.publish(subject, PULL, reply=f"{self._inbox}.{self._pulls}")

    async def _batch(self) -> list[Stored]:
        """Wait for something to arrive, then take all that has."""
        await self._arrival()
        batch: list[Stored] = []
        while self._arrived and len(batch) < CREDIT:
            message = self._arrived.popleft()
            if not message.reply:
                self._status(message)
            elif stored := self._take(message):
                batch.append(stored)
        if self._credit <= 0:
            await self._pull()
        return batch

    async def _arrival(self) -> None:
        async with asyncio.timeout(SILENCE):
            while not self._arrived:
                # What is sent while a connection is down is lost, and the consumer may not know.
                if self._reconnected():
                    raise _Lost("the connection is another")
                self._bell.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GLANCE):
                        await self._bell.wait()

    def _take(self, message: Msg) -> Stored | None:
        consumer, position, delivered = sequences(message.reply)
        if consumer != self._consumer:
            return None
        if delivered != self._delivered + 1:
            raise _Lost(f"message {delivered} followed {self._delivered}")
        self._delivered = delivered
        self._credit -= 1
        return Stored(position, message.headers or {}, message.data)

    def _status(self, message: Msg) -> None:
        if message.subject != f"{self._inbox}.{self._pulls}":
            return  # about a pull that was over already
        headers = message.headers or {}
        status, description = headers.get("Status", ""), headers.get("Description", "")
        if status == HEARTBEAT_STATUS:
            return
        if status in PULL_OVER or description in PULL_SPENT:
            self._credit = 0
            return
        raise _Lost(f"{status} {description}")


async def _finished(making: Coroutine[Any, Any, object]) -> None:
    """Await it, and when cancelled give it a moment all the same: what is not made yet can not be
    deleted, and would be made after that."""
    task = asyncio.create_task(making)
    try:
        await asyncio.shield(task)
    finally:
        await asyncio.wait({task}, timeout=MOMENT)
        if not task.done():
            task.cancel()


def _stop_if_cancelled() -> None:
    """The client waits with `asyncio.wait_for`, which before Python 3.12 may take a cancellation
    for an answer that comes at the same moment: then nobody would ever hear of it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def sequences(reply: str) -> tuple[str, int, int]:
    """The consumer, the stream's sequence and the consumer's, out of an acknowledgement subject."""
    tokens = reply.split(".")
    first = 3 if len(tokens) == 9 else 5
    return tokens[first], int(tokens[first + 2]), int(tokens[first + 3])
