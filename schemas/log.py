"""The shape of the event log: commits, and the one port through which they are read and written."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from schemas.job import JobEvent
from schemas.message import Command, Context
from schemas.token import TokenEvent
from schemas.upcasting import Decode, event_decoder
from schemas.weights import WeightsEvent

AnyEvent: TypeAlias = JobEvent | WeightsEvent | TokenEvent  # one name per aggregate

decode_events: Decode[AnyEvent] = event_decoder(AnyEvent)


class Stream(NamedTuple):
    """The history of one aggregate: `evt.<namespace>.<aggregate>.<id>`."""

    namespace: str
    aggregate: str
    id: str

    def __str__(self) -> str:
        return f"{self.aggregate}/{self.id}"


class Commit(msgspec.Struct, frozen=True, dict=True):
    """Everything one decision recorded: stored, read and projected as a unit.

    `position` is its place in the whole log, counted from 1; `at` the writer's clock; `previous`
    the hash of the aggregate's commit before it; `data` the stored bytes, a JSON array of events.
    """

    position: int
    stream: Stream
    at: datetime
    command: str
    actor: str
    correlation: str
    causation: str
    traceparent: str
    previous: str
    types: tuple[str, ...]
    data: bytes

    @cached_property
    def events(self) -> tuple[AnyEvent, ...]:
        """The events, decoded and upcast. Raises `UnknownEvent` when this build is too old."""
        return decode_events(self.data, self.types)

    @property
    def hash(self) -> str:
        return chain(self.previous, self.stream, self.at, self.data)


def chain(previous: str, stream: Stream, at: datetime, data: bytes) -> str:
    """The hash that the aggregate's next commit carries: changing any stored byte breaks it."""
    subject = ".".join(stream)
    digest = hashlib.sha256(f"{previous}\n{subject}\n{at.isoformat()}\n".encode())
    digest.update(data)
    return digest.hexdigest()


class Head(NamedTuple):
    """Where a history ends: the guard of the next append, and the last hash of its chain."""

    position: int = 0
    hash: str = ""


def head(history: Sequence[Commit]) -> Head:
    return Head(history[-1].position, history[-1].hash) if history else Head()


class Conflict(Exception):
    """Someone else appended to the stream first; fold again and decide again."""


class Ambiguous(Exception):
    """Whether the append happened is not known; read the stream and look for your command."""


class LogUnavailable(Exception):
    """The log can not be reached, or not be written, now."""


class EventLog(Protocol):
    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        """The whole history of one aggregate. `fresh`: as the leader knows it, after a doubt.

        Raises `LogUnavailable`.
        """
        ...

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        """Record `events` as one commit, provided the stream still ends at `at`.

        Raises `Conflict`, `Ambiguous`, or `LogUnavailable` when it certainly did not happen.
        """
        ...

    def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]:
        """Every commit past `after`, in order, for ever, in batches of what is there by now."""
        ...

    async def fetch(self, positions: Sequence[int]) -> Sequence[Commit]:
        """The commits at these positions, in that order; positions past the end are left out."""
        ...

    async def end(self) -> int:
        """The position of the newest commit; 0 when there is none. Raises `LogUnavailable`."""
        ...


class Outcome(msgspec.Struct, frozen=True):
    """What became of a command: the aggregate's history, ending with whatever was decided.

    `commit` is the one that granted the command, now or the first time it was asked; None when
    nothing needed to happen.
    """

    history: tuple[Commit, ...]
    commit: Commit | None

    @property
    def position(self) -> int:
        """What a reader must have seen to see this command's effect."""
        return self.history[-1].position if self.history else 0


class Dispatch(Protocol):
    """Carry out a command. Raises `Rejected`, `LogUnavailable`."""

    async def __call__(self, command: Command, context: Context) -> Outcome: ...
