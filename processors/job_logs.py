"""Job logs on JetStream: lines a person reads, kept 30 days and 2,000 a job.

They have their own stream and their own cursor: observations never share a subject with
decisions, and losing a line loses no fact.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    StorageType,
    StreamConfig,
)

from schemas.live import Level, LogLine
from schemas.log import LogUnavailable

DAYS = 30
LINES = 2000
MAX_TEXT = 4000
PATIENCE = 10.0
SILENCE = 2.0
"""Seconds after which lines that are there and do not come are asked for again."""

logger = logging.getLogger(__name__)


class LogStreamNames(msgspec.Struct, frozen=True):
    prefix: str = ""

    @property
    def stream(self) -> str:
        return f"{self.prefix}LOGS"

    @property
    def root(self) -> str:
        return f"{self.prefix}log"

    def job(self, namespace: str, job: str) -> str:
        return f"{self.root}.{namespace}.job.{job}"


def stream_config(names: LogStreamNames, *, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=names.stream,
        subjects=[f"{names.root}.>"],
        storage=StorageType.FILE,
        max_msgs_per_subject=LINES,
        max_age=DAYS * 86400.0,
        discard=DiscardPolicy.OLD,
        num_replicas=replicas,
        allow_direct=True,
    )


class Logs:
    """A `JobLogs`, and the way to write to it."""

    def __init__(self, nats: Client, names: LogStreamNames) -> None:
        self._nats = nats
        self._js = nats.jetstream()
        self._names = names

    async def write(self, namespace: str, job: str, text: str, level: Level = "info") -> None:
        """Add a line. A line that NATS does not take is only logged: the work goes on."""
        line = LogLine(job, datetime.now(UTC), level, text[:MAX_TEXT])
        try:
            await self._nats.publish(self._names.job(namespace, job), msgspec.json.encode(line))
        except NatsError as error:
            logger.warning("job %s: %s (not kept in its log: %s)", job, text, error)

    async def read(
        self, namespace: str, job: str, *, after: int = 0, limit: int = LINES
    ) -> Sequence[LogLine]:
        lines: list[LogLine] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while not await self._read(self._names.job(namespace, job), after, limit, lines):
                    after = lines[-1].cursor if lines else after
        except (TimeoutError, NatsError) as error:
            raise LogUnavailable("job logs can not be read now") from error
        return lines

    async def _read(self, subject: str, after: int, limit: int, lines: list[LogLine]) -> bool:
        """Add what comes past the cursor up to `limit` lines; whether that was all there are."""
        subscription, pending = await self._consume(subject, after)
        whole = min(len(lines) + pending, limit)
        try:
            while len(lines) < whole:
                messages = await subscription.fetch(whole - len(lines), timeout=SILENCE)
                lines += map(_line, messages)
        except TimeoutError:  # the library's own, or a bare one
            logger.debug("%s: lines got lost on the way, or expired", subject)
            return False
        finally:
            await _leave(subscription)
        return True

    async def follow(self, namespace: str, job: str, *, after: int = 0) -> AsyncIterator[LogLine]:
        async with aclosing(self._follow(self._names.job(namespace, job), after)) as lines:
            async for _, line in lines:
                yield line

    async def lines(self) -> AsyncIterator[tuple[str, LogLine]]:
        async with aclosing(self._follow(self._names.job("*", "*"), None)) as lines:
            async for found in lines:
                yield found

    async def _follow(self, subject: str, after: int | None) -> AsyncGenerator[tuple[str, LogLine]]:
        """Namespace and line of whatever comes past the cursor; None is from now on."""
        while True:
            try:
                subscription, _ = await self._consume(subject, after)
            except (TimeoutError, NatsError) as error:
                raise LogUnavailable("job logs can not be followed now") from error
            try:
                async for message in _messages(subscription):
                    line = _line(message)
                    yield message.subject.split(".")[-3], line
                    after = line.cursor
            except NatsError as error:
                logger.debug("following %s begins again: %s", subject, error)
            finally:
                await _leave(subscription)

    async def _consume(
        self, subject: str, after: int | None
    ) -> tuple[JetStreamContext.PullSubscription, int]:
        new = after is None
        subscription = await self._js.pull_subscribe(
            subject,
            stream=self._names.stream,
            config=ConsumerConfig(
                deliver_policy=DeliverPolicy.NEW if new else DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=None if after is None else after + 1,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=60.0,
                mem_storage=True,
            ),
        )
        info = await subscription.consumer_info()
        return subscription, info.num_pending or 0


async def _messages(subscription: JetStreamContext.PullSubscription) -> AsyncIterator[Msg]:
    while True:
        try:
            messages = await subscription.fetch(1, timeout=10)
        except NatsTimeout:
            continue
        for message in messages:
            yield message


def _line(message: Msg) -> LogLine:
    line = msgspec.json.decode(message.data, type=LogLine)
    return msgspec.structs.replace(line, cursor=message.metadata.sequence.stream)


async def _leave(subscription: JetStreamContext.PullSubscription) -> None:
    with contextlib.suppress(NatsError):  # an abandoned consumer expires by itself
        await subscription.unsubscribe()
