"""The shape of the event log: commits, and the one port through which they are read and written."""

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from schemas.alias import AliasEvent
from schemas.job import JobEvent
from schemas.message import Command, Context, Rejected
from schemas.model import ModelEvent
from schemas.runtime import RuntimeEvent
from schemas.status import StatusEvent
from schemas.token import TokenEvent
from schemas.upcasting import Decode, event_decoder
from schemas.weights import WeightsEvent

AnyEvent: TypeAlias = (  # one name per aggregate
    JobEvent | WeightsEvent | TokenEvent | ModelEvent | AliasEvent | RuntimeEvent | StatusEvent
)

decode_events: Decode[AnyEvent] = event_decoder(AnyEvent)


MAX_COMMIT_BYTES = 252 * 1024
"""Of events in one commit; what says who, why and when comes on top."""

LITERAL = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Stream(NamedTuple):
    """The history of one aggregate: `evt.<namespace>.<aggregate>.<id>`."""

    namespace: str
    aggregate: str
    id: str

    @property
    def path(self) -> str:
        """All three, dotted. Raises `Rejected` with `invalid` when one could name several."""
        path = f"{self.namespace}.{self.aggregate}.{self.id}"
        if LITERAL.fullmatch(path) is None:
            raise Rejected("invalid", f"{path!r} does not name one history")
        return path

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
        """What the aggregate's next commit carries as `previous`. It covers all but the position,
        so changing anything that was said, or who said it, breaks the chain."""
        said = (
            self.previous,
            self.stream.path,
            self.at.isoformat(),
            self.command,
            self.actor,
            self.correlation,
            self.causation,
            self.traceparent,
            self.types,
        )
        digest = hashlib.sha256(msgspec.json.encode(said))
        digest.update(self.data)
        return digest.hexdigest()


def new_commit(at: "Head", stream: Stream, events: Sequence[AnyEvent], context: Context) -> Commit:
    """The commit that `events` become behind `at`: its position is 0 until the log gives it one.

    Raises `ValueError` when there are none, or too many for one commit.
    """
    data = msgspec.json.encode(events)
    if not events or len(data) > MAX_COMMIT_BYTES:
        raise ValueError(f"{len(events)} events of {len(data)} bytes do not make a commit")
    return Commit(
        position=0,
        stream=stream,
        at=context.at,
        command=context.command,
        actor=context.actor,
        correlation=context.correlation or context.command,
        causation=context.causation,
        traceparent=context.traceparent,
        previous=at.hash,
        types=tuple(str(type(event).__struct_config__.tag) for event in events),
        data=data,
    )


class Head(NamedTuple):
    """Where a history ends: the guard of the next append, and the last hash of its chain."""

    position: int = 0
    hash: str = ""


def head(history: Sequence[Commit]) -> Head:
    return Head(history[-1].position, history[-1].hash) if history else Head()


def broken_link(commits: Iterable[Commit]) -> Commit | None:
    """The first commit that does not carry the hash of its aggregate's commit before it.

    `commits` are in order and whole from the beginning: one aggregate's, or the whole log's. What
    was said last is sealed only by what will be said next.
    """
    last: dict[Stream, str] = {}
    for commit in commits:
        if commit.previous != last.get(commit.stream, ""):
            return commit
        last[commit.stream] = commit.hash
    return None


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

    async def last(self, stream: Stream, *, fresh: bool = False) -> Commit | None:
        """The newest commit of one aggregate, however long its history; None when it has none.

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
        """Every commit past `after`, in order, for ever, in batches of what is there by now.

        Raises `LogUnavailable` when the log can never be reached again from here.
        """
        ...

    async def fetch(self, positions: Sequence[int]) -> Sequence[Commit]:
        """The commits at these positions, in that order; positions past the end are left out."""
        ...

    async def end(self) -> int:
        """The position of the newest commit; 0 when there is none. Raises `LogUnavailable`."""
        ...


class Outcome(msgspec.Struct, frozen=True):
    """What became of a command: the aggregate's history, ending with whatever was decided; of an
    aggregate that is what was said last, that alone.

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
