"""How many events of each type every day saw, for a dashboard."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date
from functools import partial

import msgspec

from projections.fold import Projection
from projections.table import Change, Db, Table
from schemas.api.system import DayCount
from schemas.log import Commit


class DayRow(msgspec.Struct, frozen=True):
    """`day` is of UTC, as in `2026-11-01`."""

    day: str
    namespace: str
    type: str
    count: int


def changes(commit: Commit) -> Iterable[Change[DayRow]]:
    day = commit.at.astimezone(UTC).date().isoformat()
    namespace = commit.stream.namespace
    for kind, count in Counter(commit.types).items():
        yield (day, namespace, kind), partial(_more, DayRow(day, namespace, kind, count))


def _more(more: DayRow, row: DayRow | None) -> DayRow:
    return more if row is None else msgspec.structs.replace(row, count=row.count + more.count)


daily_counts = Table(
    name="daily_counts",
    row=DayRow,
    key=("day", "namespace", "type"),
    order=("day", "namespace", "type"),
    changes=changes,
)
projection = Projection("daily", (daily_counts,), __file__)


async def days(db: Db, namespace: str | None, since: date) -> tuple[DayCount, ...]:
    """The counts of each day from `since` on, oldest first; None is all namespaces together."""
    cursor = await db.execute(
        "SELECT day, type, sum(count)::bigint FROM daily_counts WHERE day >= %(since)s"
        " AND (%(ns)s::text IS NULL OR namespace = %(ns)s) GROUP BY day, type ORDER BY day, type",
        {"since": since.isoformat(), "ns": namespace},
    )
    return tuple(DayCount(*row) for row in await cursor.fetchall())
