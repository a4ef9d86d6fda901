"""Reading tables: one row by its key, pages by keyset, now or as of a position in the log."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString, NamedTuple, TypeAlias, get_type_hints

import msgspec
from psycopg import AsyncCursor
from psycopg.sql import SQL, Composable, Composed, Identifier, Placeholder

from projections.statements import history, listed, live
from projections.table import Db, Key, R, Table, columns
from schemas.api.problem import Page
from schemas.message import Rejected

Condition: TypeAlias = tuple[LiteralString, object]
"""SQL with one `%s`, and its value. None, or an empty list, is no condition at all."""


MOST_ROWS = 500
"""On a page that nobody but us asks for."""


class Part(NamedTuple):
    """Which part of a list: up to `limit` rows (at least 1) behind `cursor`.

    `as_of` is a position in the log that the read model has seen; None is now.
    """

    limit: int = 50
    cursor: str | None = None
    as_of: int | None = None


async def read_rows(
    db: Db, table: Table[R], query: bytes | Composed, parameters: Sequence[object] = ()
) -> list[R]:
    """The rows of a query that selects the table's columns, in their order."""
    wires = [column.wire for column in columns(table)]

    def factory(_: AsyncCursor[Any]) -> Callable[[Sequence[object]], R]:
        return lambda values: msgspec.convert(
            dict(zip(wires, map(_utc, values), strict=True)), table.row
        )

    async with db.cursor(row_factory=factory) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def one(db: Db, table: Table[R], key: Key, as_of: int | None = None) -> R | None:
    """The row with that key, if there is, or was, one."""
    if _unfindable(key):
        return None
    source, positions = _source(table, as_of)
    query = SQL("SELECT {} FROM {} WHERE ({}) = ({})").format(
        _columns(table), source, listed(table.key), _placeholders(key)
    )
    rows = await read_rows(db, table, query, [*positions, *key])
    return rows[0] if rows else None


async def page_of(
    db: Db,
    table: Table[R],
    conditions: Iterable[Condition],
    part: Part,
    *,
    ascending: bool = False,
) -> Page[R]:
    """Rows in the table's order. Raises `Rejected` with `invalid_cursor`."""
    wanted: list[Condition] = [said for said in conditions if said[1] not in (None, [])]
    if _unfindable(value for _, value in wanted):
        return Page(())
    source, parameters = _source(table, part.as_of)
    clauses: list[Composable] = [SQL(text) for text, _ in wanted]
    parameters += [value for _, value in wanted]
    if part.cursor is not None:
        after = _decode(table, part.cursor)
        comparison = SQL("({}) > ({})") if ascending else SQL("({}) < ({})")
        clauses.append(comparison.format(listed(table.order), _placeholders(after)))
        parameters += after
    query = SQL("SELECT {} FROM {} WHERE {} ORDER BY {} LIMIT %s").format(
        _columns(table),
        source,
        SQL(" AND ").join(clauses) if clauses else SQL("true"),
        _order(table, ascending),
    )
    rows = await read_rows(db, table, query, [*parameters, part.limit + 1])
    more = len(rows) > part.limit
    items = tuple(rows[: part.limit])
    return Page(items, _encode(table, items[-1]) if more else None)


async def all_of(ask: Callable[[Part], Awaitable[Page[R]]], as_of: int | None = None) -> list[R]:
    """Every page of a list."""
    rows: list[R] = []
    cursor: str | None = None
    while True:
        page = await ask(Part(MOST_ROWS, cursor, as_of))
        rows += page.items
        if page.next_cursor is None:
            return rows
        cursor = page.next_cursor


def key_of(table: Table[R], row: R) -> Key:
    return tuple(getattr(row, name) for name in table.key)


def _source(table: Table[Any], as_of: int | None) -> tuple[Composable, list[object]]:
    """What to select from, and its parameters."""
    if as_of is None:
        return Identifier(live(table)), []
    then = SQL(
        "(SELECT {columns} FROM {live} WHERE position <= %s UNION ALL SELECT {columns}"
        " FROM {history} WHERE position <= %s AND to_position > %s) AS as_it_was"
    ).format(
        columns=_columns(table),
        live=Identifier(live(table)),
        history=Identifier(history(table)),
    )
    return then, [as_of, as_of, as_of]


def _columns(table: Table[Any]) -> Composed:
    return listed(column.name for column in columns(table))


def _order(table: Table[Any], ascending: bool) -> Composed:
    direction = SQL(" ASC") if ascending else SQL(" DESC")
    return SQL(", ").join(Identifier(name) + direction for name in table.order)


def _placeholders(values: Sequence[object]) -> Composed:
    return SQL(", ").join([Placeholder()] * len(values))


def _encode(table: Table[R], row: R) -> str:
    values = [getattr(row, name) for name in table.order]
    return urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def _decode(table: Table[Any], cursor: str) -> list[object]:
    hints = get_type_hints(table.row)
    kinds = [hints[name] for name in table.order]
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values = msgspec.json.decode(raw, type=list[Any])
        found = [msgspec.convert(v, kind) for v, kind in zip(values, kinds, strict=True)]
    except (ValueError, msgspec.MsgspecError) as error:
        raise Rejected("invalid_cursor", "the cursor is not one of this list's") from error
    if _unfindable(found):
        raise Rejected("invalid_cursor", "the cursor is not one of this list's")
    return found


def _unfindable(values: Iterable[object]) -> bool:
    """Whether Postgres would refuse to look for one of them: no text of its holds a NUL."""
    return any(isinstance(value, str) and "\0" in value for value in values)


def _utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
