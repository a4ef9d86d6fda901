"""Where in the log everything is: what filtered pages of events are made of.

Holds no event, only its place and what it can be found by; of types that this build does not know
too, so nothing is decoded here.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from psycopg.rows import scalar_row

from projections.fold import Projection, put
from projections.rows import Condition, Part, page_of
from projections.table import Change, Db, Table
from schemas.api.problem import Page
from schemas.log import Commit
from schemas.message import Rejected
from schemas.names import SYSTEM

TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?")
CLOCKS_DIFFER_BY = "5 minutes"


class EventRow(msgspec.Struct, frozen=True):
    """The event `index` of the commit at `position`. `at` is its writer's clock."""

    position: int
    index: int
    at: datetime
    namespace: str
    type: str
    aggregate: str
    id: str
    actor: str
    correlation: str
    causation: str


def changes(commit: Commit) -> Iterable[Change[EventRow]]:
    for index, kind in enumerate(commit.types):
        row = EventRow(
            commit.position,
            index,
            commit.at,
            commit.stream.namespace,
            kind,
            commit.stream.aggregate,
            commit.stream.id,
            commit.actor,
            commit.correlation,
            commit.causation,
        )
        yield (commit.position, index), put(row)


event_index = Table(
    name="event_index",
    row=EventRow,
    key=("position", "index"),
    order=("position", "index"),
    changes=changes,
    indexes=(
        ("namespace", "aggregate", "id", "position"),
        ("namespace", "type", "position"),
        ("correlation", "position"),
        ("at", "position"),
    ),
    blind=True,
)
projection = Projection("event_index", (event_index,), __file__)


class Wanted(msgspec.Struct, frozen=True):
    """Which events; None, and no types, is all of them.

    A type may end in `.*`, or be `*`. `after` and `before` are positions, themselves left out.
    `before_time` is by the writers' clocks. What belongs to no tenant shows with `system` only.
    """

    namespace: str | None
    types: Sequence[str] = ()
    aggregate: str | None = None
    id: str | None = None
    correlation: str | None = None
    actor: str | None = None
    after: int | None = None
    before: int | None = None
    before_time: datetime | None = None
    system: bool = False

    def conditions(self) -> Sequence[Condition]:
        """Raises `Rejected` with `invalid` for a type that can not be one."""
        patterns = [] if "*" in self.types else [_pattern(type) for type in self.types]
        return [
            ("namespace = %s", self.namespace),
            ("namespace <> %s", None if self.system else SYSTEM),
            ("type LIKE ANY(%s)", patterns),
            ("aggregate = %s", self.aggregate),
            ("id = %s", self.id),
            ("correlation = %s", self.correlation),
            ("actor = %s", self.actor),
            ("position > %s", self.after),
            ("position < %s", self.before),
            ("at < %s", self.before_time),
        ]


async def page(db: Db, wanted: Wanted, part: Part, *, ascending: bool = False) -> Page[EventRow]:
    """Newest first, unless ascending. Raises `Rejected`: `invalid`, `invalid_cursor`."""
    return await page_of(db, event_index, wanted.conditions(), part, ascending=ascending)


async def tail(db: Db, wanted: Wanted, count: int) -> Sequence[EventRow]:
    """The newest `count` events, oldest first. Raises `Rejected` with `invalid`."""
    newest = await page(db, wanted, Part(count))
    return newest.items[::-1]


async def position_at(db: Db, time: datetime) -> int:
    """The position as of which to look for how things stood at `time`; 0 before the first commit.

    The last commit that its writer's clock says was by then. Clocks are taken to differ little,
    so that only what was written about then has to be looked through.
    """
    async with db.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "SELECT coalesce(max(position), 0) FROM event_index WHERE at <= %(time)s AND at >="
            " (SELECT max(at) FROM event_index WHERE at <= %(time)s) - %(differ)s::interval",
            {"time": time, "differ": CLOCKS_DIFFER_BY},
        )
        found: int | None = await cursor.fetchone()
        return found or 0


def _pattern(type: str) -> str:
    """What `LIKE` makes of it. `_` stands for itself."""
    if TYPE.fullmatch(type) is None:
        raise Rejected("invalid", f"{type!r} is no type of event, nor a family like `job.*`")
    return type.replace("_", r"\_").replace("*", "%")
