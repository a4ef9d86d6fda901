"""The event log on NATS JetStream, and all that ever writes to it; `schemas/wire.py` has the words.

One message is one commit, so a decision is recorded whole or not at all. One literal subject is
one aggregate, so the last sequence on that subject is its optimistic lock.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from urllib.parse import quote, unquote

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, Header, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NoStreamResponseError

from commands.direct import DirectReader, Stored
from commands.following import Follower
from commands.publishing import WRONG_LAST_SEQUENCE, publish
from schemas.log import (
    MAX_COMMIT_BYTES,
    Ambiguous,
    AnyEvent,
    Commit,
    Conflict,
    Head,
    LogUnavailable,
    Stream,
    new_commit,
)
from schemas.message import Context, Rejected
from schemas.wire import (
    ACTOR,
    CAUSATION,
    CORRELATION,
    PREVIOUS,
    TRACEPARENT,
    TYPES,
    WRITTEN,
    stream_of,
    subject_of,
)

IN_PROCESS = 10158
"""The same command is on its way already, and a cluster has yet to agree on it."""
NO_SPACE = frozenset({10023, 10047, 10077, 10122})
"""The stream is at its `max_bytes`, or the server at its own limit. A file system that is full
gets no answer at all: the server says so in its own log only."""

PLAIN = re.compile(r"[!-$&-~]([ -$&-~]*[!-$&-~])?")

MAX_HEADER_BYTES = 4 * 1024
PATIENCE = 5.0
"""Seconds an answer is waited for before the outcome counts as unknown."""
SHOWS_WITHIN = 1.0
"""Seconds after which what was in the way of an append is taken to have come to nothing."""


class LogNames(msgspec.Struct, frozen=True):
    """What the log is called on the server; `prefix` lets several installations share one."""

    prefix: str = ""

    @property
    def stream(self) -> str:
        return f"{self.prefix}EVT"

    @property
    def root(self) -> str:
        return f"{self.prefix}evt"

    def subject(self, stream: Stream) -> str:
        """The one literal subject of an aggregate. Raises `Rejected` with `invalid`."""
        return subject_of(self.root, stream)


def stream_config(names: LogNames, *, replicas: int, epoch: str, max_bytes: int) -> StreamConfig:
    """How the truth is kept: for ever, never deleted from, full rather than forgetful."""
    return StreamConfig(
        name=names.stream,
        subjects=[f"{names.root}.*.*.*"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=max_bytes,
        max_msg_size=MAX_COMMIT_BYTES + MAX_HEADER_BYTES,
        num_replicas=replicas,
        duplicate_window=120,
        allow_direct=True,
        deny_delete=True,
        deny_purge=True,
        metadata={"mllm.epoch": epoch},
    )


class JetStreamLog:
    """An `EventLog`. Call `start` once before anything else and `stop` at the end."""

    def __init__(self, nats: Client, names: LogNames, patience: float = PATIENCE) -> None:
        self._nats = nats
        self._js = nats.jetstream(timeout=patience)
        self._patience = patience
        self._names = names
        self._reader = DirectReader(nats, names.stream, patience)

    async def start(self) -> None:
        await self._reader.start()

    async def stop(self) -> None:
        await self._reader.stop()

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        subject = self._names.subject(stream)
        try:
            async with asyncio.timeout(self._patience):
                newest = await self._reader.newest(subject) if fresh else 0
                while True:
                    stored = await self._reader.subject(subject)
                    if (stored[-1].position if stored else 0) >= newest:
                        return [_commit(message) for message in stored]
                    await asyncio.sleep(0.02)  # a replica has yet to hear what the leader knows
        except (TimeoutError, NatsError) as error:
            raise LogUnavailable(f"{stream} can not be read: {_why(error)}") from error

    async def last(self, stream: Stream, *, fresh: bool = False) -> Commit | None:
        subject = self._names.subject(stream)
        try:
            async with asyncio.timeout(self._patience):
                stored = await self._reader.last(subject, fresh=fresh)
        except (TimeoutError, NatsError) as error:
            raise LogUnavailable(f"{stream} can not be read: {_why(error)}") from error
        return _commit(stored) if stored is not None else None

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        commit = new_commit(at, stream, events, context)
        subject = self._names.subject(stream)
        headers = _headers(subject, at, commit)
        try:
            ack = await publish(self._js, subject, commit.data, headers, self._patience)
        except NoStreamResponseError as error:
            raise LogUnavailable(f"{stream} can not be written: {_why(error)}") from error
        except APIError as error:
            if error.err_code in {*WRONG_LAST_SEQUENCE, IN_PROCESS}:
                await self._moved(subject, at)
            if error.err_code in WRONG_LAST_SEQUENCE:
                raise Conflict(str(stream)) from error
            raise _refusal(stream, error) from error
        except (TimeoutError, NatsError) as error:
            raise Ambiguous(f"append to {stream}: {_why(error)}") from error
        if ack.duplicate:
            raise Ambiguous(f"append to {stream}: seen before")
        return msgspec.structs.replace(commit, position=ack.seq)

    async def _moved(self, subject: str, at: Head) -> None:
        """Wait until what came first can be read: to a cluster's leader it is in the way as soon
        as it is proposed, and it counts only when most have it."""
        with suppress(TimeoutError, NatsError):
            async with asyncio.timeout(SHOWS_WITHIN):
                while await self._reader.newest(subject) == at.position:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    async def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]:
        follower = Follower(self._nats, self._names.stream, after)
        async with follower, aclosing(follower.batches()) as batches:
            async for messages in batches:
                yield [_commit(message) for message in messages]

    async def fetch(self, positions: Sequence[int]) -> Sequence[Commit]:
        try:
            async with asyncio.timeout(self._patience):
                found = await asyncio.gather(
                    *(self._reader.position(p) for p in positions if p > 0)
                )
        except (TimeoutError, NatsError) as error:
            raise LogUnavailable(f"the log can not be read: {_why(error)}") from error
        return [_commit(message) for message in found if message is not None]

    async def end(self) -> int:
        try:
            info = await self._js.stream_info(self._names.stream)
        except (TimeoutError, NatsError) as error:
            raise LogUnavailable(f"the log can not be read: {_why(error)}") from error
        return info.state.last_seq

    async def ids(self, aggregate: str) -> Sequence[tuple[str, str]]:
        """Namespace and id of every aggregate of a family that has a history.

        Raises `LogUnavailable`.
        """
        found: list[tuple[str, str]] = []
        total = 1
        while len(found) < total:
            part = await self._subjects(f"{self._names.root}.*.{aggregate}.*", len(found))
            total = part.total if part.state.subjects else 0
            streams = map(stream_of, part.state.subjects)
            found += [(stream.namespace, stream.id) for stream in streams]
        return found

    async def _subjects(self, filter: str, offset: int) -> "_Subjects":
        """The subjects that match, a server's page of them, past the first `offset`."""
        ask = msgspec.json.encode({"subjects_filter": filter, "offset": offset})
        subject = f"$JS.API.STREAM.INFO.{self._names.stream}"
        try:
            answer = await self._nats.request(subject, ask, timeout=self._patience)
        except (TimeoutError, NatsError) as error:
            raise LogUnavailable(f"the log can not be read: {_why(error)}") from error
        part = msgspec.json.decode(answer.data, type=_Subjects)
        if part.error is not None:
            raise LogUnavailable(f"the log can not be read: {part.error.description}")
        return part

    async def epoch(self) -> str:
        """Which log this is: a reader's position means nothing in another."""
        try:
            info = await self._js.stream_info(self._names.stream)
        except (TimeoutError, NatsError) as error:
            raise LogUnavailable(f"the log can not be read: {_why(error)}") from error
        return (info.config.metadata or {}).get("mllm.epoch", "")


class _State(msgspec.Struct, frozen=True):
    subjects: dict[str, int] = {}


class _Refused(msgspec.Struct, frozen=True):
    description: str = ""


class _Subjects(msgspec.Struct, frozen=True):
    """A stream's answer about its subjects; `total` is how many match."""

    total: int = 0
    state: _State = _State()
    error: _Refused | None = None


def _headers(subject: str, at: Head, commit: Commit) -> dict[str, str]:
    headers: dict[str, str] = {
        Header.MSG_ID: f"{_plain(commit.command)}@{subject}",
        Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(at.position),
        TYPES: ",".join(commit.types),
        ACTOR: _plain(commit.actor),
        CORRELATION: _plain(commit.correlation),
        WRITTEN: commit.at.isoformat(),
    }
    if at.hash:
        headers[PREVIOUS] = at.hash
    if commit.causation:
        headers[CAUSATION] = _plain(commit.causation)
    if commit.traceparent:
        headers[TRACEPARENT] = _plain(commit.traceparent)
    if sum(map(len, headers.values())) > MAX_HEADER_BYTES - 512:
        raise Rejected("invalid", "what was said of who, why and whence is too long to keep")
    return headers


def _plain(value: str) -> str:
    """A header's value as it may travel: nothing in it ends a line or is trimmed away."""
    return value if PLAIN.fullmatch(value) else quote(value)


def _commit(message: Stored) -> Commit:
    headers = message.headers
    command, _, subject = headers[Header.MSG_ID].rpartition("@")
    return Commit(
        position=message.position,
        stream=stream_of(subject),
        at=datetime.fromisoformat(headers[WRITTEN]),
        command=unquote(command),
        actor=unquote(headers[ACTOR]),
        correlation=unquote(headers[CORRELATION]),
        causation=unquote(headers.get(CAUSATION, "")),
        traceparent=unquote(headers.get(TRACEPARENT, "")),
        previous=headers.get(PREVIOUS, ""),
        types=tuple(headers[TYPES].split(",")),
        data=message.data,
    )


def _refusal(stream: Stream, error: APIError) -> Exception:
    """What the server's refusal means. Anything not plainly understood counts as unknown."""
    if error.err_code in NO_SPACE:
        return LogUnavailable(f"the log takes no more: {error.description}")
    return Ambiguous(f"append to {stream}: {error.description}")


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
