"""Events as they travel on the event stream: each encoded once, as the bytes every client gets."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from schemas.api.events import CONTENT_TYPE, SPEC_VERSION, CloudEvent, cloud_events
from schemas.live import LogLine, Tick
from schemas.log import Commit, Stream
from schemas.message import Rejected
from schemas.names import SYSTEM

TICK, LINE = "job.tick", "job.log"
TYPE = re.compile(r"\*|[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?")
SOURCE = "/gateway"


class Entry(NamedTuple):
    """A commit, or what is not in the log, on the stream: one frame for each event, in order."""

    stream: Stream
    types: tuple[str, ...]
    frames: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.frames))


class Filter(msgspec.Struct, frozen=True):
    """Which events a client asked for and may see. `namespace` None is all of them; `families`
    are prefixes of types, as `job.` for `job.*`; nothing named is everything."""

    namespace: str | None
    system: bool = False
    types: frozenset[str] = frozenset()
    families: tuple[str, ...] = ()
    aggregate: str = ""
    id: str = ""

    @property
    def everything(self) -> bool:
        """Whether nothing that the namespace holds is left out."""
        return not (self.types or self.families or self.aggregate or self.id)

    def admits(self, namespace: str, aggregate: str, id: str) -> bool:
        if namespace == SYSTEM and not self.system:
            return False
        if self.namespace not in (None, namespace):
            return False
        return self.aggregate in ("", aggregate) and self.id in ("", id)

    def takes(self, type: str) -> bool:
        if not self.types and not self.families:
            return True
        return type in self.types or type.startswith(self.families)

    def frames(self, entry: Entry, skip: int = 0) -> Sequence[bytes]:
        """The frames of an entry, past the first `skip`, that pass."""
        if not self.admits(*entry.stream):
            return ()
        pairs = zip(entry.types[skip:], entry.frames[skip:], strict=True)
        return [frame for type, frame in pairs if self.takes(type)]


def types_of(wanted: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Types and families out of what a client wrote: `job.*`, `weights.installed`, `*`.

    Raises `Rejected` with `invalid` for what can be none.
    """
    names = {name for text in wanted for name in text.split(",") if name}
    for name in names:
        if TYPE.fullmatch(name) is None:
            raise Rejected("invalid", f"{name[:64]!r} is no type of event, nor a family as `job.*`")
    if "*" in names:
        return frozenset(), ()
    families = tuple(sorted(name[:-1] for name in names if name.endswith(".*")))
    return frozenset(name for name in names if not name.endswith(".*")), families


def commit_entry(commit: Commit) -> Entry:
    frames = tuple(_frame(event.type, event, event.id) for event in cloud_events(commit))
    return Entry(commit.stream, commit.types, frames)


def tick_entry(tick: Tick, position: int) -> Entry:
    """Live byte counts."""
    id = f"{tick.job}.{tick.attempt}.{int(tick.at.timestamp() * 1000)}"
    return _aside(TICK, id, tick.namespace, tick, position, tick.worker)


def line_entry(namespace: str, line: LogLine, position: int) -> Entry:
    """A line of a job's log."""
    return _aside(LINE, f"{line.job}.log.{line.cursor}", namespace, line, position)


def _aside(
    type: str, id: str, namespace: str, said: Tick | LogLine, position: int, actor: str = ""
) -> Entry:
    """What is not in the event log: its frame has no id to resume from."""
    event = CloudEvent(
        id=id,
        source=f"/{namespace}/job",
        type=type,
        subject=f"job/{said.job}",
        time=said.at,
        sequence=position,
        namespace=namespace,
        actor=actor,
        correlationid="",
        data=msgspec.Raw(msgspec.json.encode(said)),
        specversion=SPEC_VERSION,
        datacontenttype=CONTENT_TYPE,
    )
    return Entry(Stream(namespace, "job", said.job), (type,), (_frame(type, event),))


class Note(msgspec.Struct, frozen=True):
    """A word about the stream itself. What it says is in `data`, and beside it as attributes."""

    type: str
    id: str
    sequence: int
    data: dict[str, int | str]
    count: int | UnsetType = UNSET
    epoch: str | UnsetType = UNSET
    source: str = SOURCE
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


def seed_start(position: int) -> bytes:
    return _note("stream.seed.start", {"sequence": position})


def seed_complete(count: int, position: int) -> bytes:
    return _note("stream.seed.complete", {"count": count, "sequence": position})


def reset(epoch: str, position: int) -> bytes:
    """The client's position means nothing here; these are the ones that do."""
    return _note("stream.reset", {"epoch": epoch, "sequence": position})


def _note(type: str, data: dict[str, int | str]) -> bytes:
    fields = {"type": type, "id": f"{type}/{data['sequence']}", "data": data, **data}
    note = msgspec.convert(fields, Note)
    return _frame(type, note)


def _frame(type: str, event: object, id: str = "") -> bytes:
    named = f"id: {id}\n" if id else ""
    return b"%sevent: %s\ndata: %s\n\n" % (
        named.encode(),
        type.encode(),
        msgspec.json.encode(event),
    )
