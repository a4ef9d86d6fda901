"""Read models as pure folds of commits: no clock, no network, no database.

The same fold serves the live tables, their rebuilding and their verification, the history of a
row, and the answer that needs one aggregate's row and no database at all.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from projections.statements import creation
from projections.table import Change, Key, R, Superseded, Table
from schemas.log import AnyEvent, Commit, Stream, decode_events
from schemas.upcasting import UnknownEvent, event_types

E = TypeVar("E", bound=AnyEvent)

NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""An escaped NUL in JSON, behind the escaped backslashes that may precede it."""

logger = logging.getLogger(__name__)

_raw = msgspec.json.Decoder(tuple[msgspec.Raw, ...])


def events_of(commit: Commit) -> Sequence[AnyEvent]:
    """The events of a commit that this build knows, without NULs, which Postgres does not take.

    Leaving out the others is safe: the build that knows them folds the log anew.
    """
    if b"\\u0000" in commit.data:
        data = NUL.sub(rb"\1\\ufffd", commit.data)
        commit = msgspec.structs.replace(commit, data=data)
    try:
        return commit.events
    except UnknownEvent:
        stored = zip(commit.types, _raw.decode(commit.data), strict=True)
        return [event for kind, raw in stored for event in _if_known(kind, raw)]


def _if_known(kind: str, raw: msgspec.Raw) -> Sequence[AnyEvent]:
    try:
        return decode_events(b"[%b]" % bytes(raw), (kind,))
    except UnknownEvent as error:
        _mention(str(error))
        return ()


@cache
def _mention(text: str) -> None:
    """Once, not for every event."""
    logger.warning("left out: %s", text)


@dataclass(frozen=True)
class PerAggregate(Generic[R, E]):
    """One row for each aggregate of a family, a fold of its events.

    `evolve` need not care for `position` and `updated_at`: they are set where a row changed.
    """

    aggregate: str
    evolve: Callable[[R | None, E, Commit], R | None]
    key: Callable[[Stream], Key] = lambda stream: (stream.namespace, stream.id)

    def changes(self, commit: Commit) -> Iterable[Change[R]]:
        if commit.stream.aggregate != self.aggregate:
            return ()
        return ((self.key(commit.stream), lambda row: self.advance(row, commit)),)

    def advance(self, before: R | None, commit: Commit) -> R | None:
        row = before
        for event in events_of(commit):
            row = self.evolve(row, event, commit)  # type: ignore[arg-type]  # its own events only
        if row is None or row is before:
            return row
        return msgspec.structs.replace(row, position=commit.position, updated_at=commit.at)

    def row_of(self, history: Iterable[Commit]) -> R | None:
        """What the aggregate's row is after its whole history."""
        row: R | None = None
        for commit in history:
            row = self.advance(row, commit)
        return row


def put(row: R) -> Callable[[R | None], R]:
    """The change after which the row is this one, whatever it was."""
    return lambda _: row


def remove(_: object) -> None:
    """The change after which there is no row."""


class Folded(NamedTuple, Generic[R]):
    """What some commits made of a table: rows by key (None: gone), and what they superseded."""

    rows: Mapping[Key, R | None]
    superseded: Sequence[Superseded[R]]


def fold(
    table: Table[R],
    steps: Iterable[tuple[Commit, Change[R]]],
    rows: MutableMapping[Key, R | None],
) -> Folded[R]:
    """Carry out changes in order on `rows`, which must hold every row they touch that exists."""
    touched: dict[Key, R | None] = {}
    superseded: list[Superseded[R]] = []
    for commit, (key, change) in steps:
        before = rows.get(key)
        after = change(before)
        if after is before:
            continue
        rows[key] = touched[key] = after
        if before is not None and table.history:
            superseded.append(Superseded(before, commit.position, commit.at))
    return Folded(touched, superseded)


def steps(table: Table[R], commits: Iterable[Commit]) -> list[tuple[Commit, Change[R]]]:
    return [(commit, change) for commit in commits for change in table.changes(commit)]


@dataclass(frozen=True)
class Projection:
    """A read model: its tables, the union of events it reads, and the module that says how."""

    name: str
    tables: tuple[Table[Any], ...]
    module: str
    events: Any = None

    @cached_property
    def version(self) -> str:
        """Names what the rows would be: another version means folding the log anew."""
        digest = hashlib.sha256(Path(self.module).read_bytes() + Path(__file__).read_bytes())
        for table in self.tables:
            for statement in creation(table):
                digest.update(statement.as_bytes())
        for kind, event in sorted(event_types(self.events).items()):
            form = {field.name: field.default for field in msgspec.structs.fields(event)}["v"]
            digest.update(f"{kind} {form} ".encode())
        return digest.hexdigest()[:16]
