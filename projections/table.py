"""Tables whose columns are the fields of a row type, so that SQL and the API never disagree."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Generic, LiteralString, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import inspect
from psycopg import AsyncConnection

from schemas.log import Commit

R = TypeVar("R", bound=msgspec.Struct)

Db: TypeAlias = AsyncConnection[Any]
Key: TypeAlias = tuple[str | int, ...]
Change: TypeAlias = tuple[Key, Callable[[R | None], R | None]]
"""A row's key, and what becomes of the row: None is no row, the same object is no change."""


@dataclass(frozen=True)
class Table(Generic[R]):
    """What commits change in one table, and how the table is kept.

    `order` is the keyset its pages are in. A `blind` table's changes never look at the row before.
    With `history`, rows have a `position` and every version that was superseded stays in
    `<name>_history`, with the position and the time at which it ended.
    """

    name: str
    row: type[R]
    key: tuple[str, ...]
    order: tuple[str, ...]
    changes: Callable[[Commit], Iterable[Change[R]]]
    indexes: tuple[tuple[str, ...], ...] = ()
    history: bool = False
    blind: bool = False


class Superseded(NamedTuple, Generic[R]):
    """A row as it was from `row.position` up to, and not including, `to_position`."""

    row: R
    to_position: int
    to_at: datetime


class Column(NamedTuple):
    """`wire` is the field's name in JSON, `kind` its SQL type."""

    name: str
    wire: str
    kind: LiteralString
    nullable: bool = False


HISTORY = (
    Column("to_position", "toPosition", "bigint"),
    Column("to_at", "toAt", "timestamptz"),
)

KINDS: Mapping[type[inspect.Type], LiteralString] = {
    inspect.StrType: "text",
    inspect.IntType: "bigint",
    inspect.FloatType: "double precision",
    inspect.BoolType: "boolean",
    inspect.DateTimeType: "timestamptz",
}


@cache
def columns(table: Table[Any]) -> tuple[Column, ...]:
    info = inspect.type_info(table.row)
    assert isinstance(info, inspect.StructType)
    return tuple(Column(field.name, field.encode_name, *_kind(field.type)) for field in info.fields)


def _kind(field: inspect.Type) -> tuple[LiteralString, bool]:
    members = field.types if isinstance(field, inspect.UnionType) else (field,)
    values = [member for member in members if not isinstance(member, inspect.NoneType)]
    kinds: set[LiteralString] = {_scalar(member) for member in values}
    kind: LiteralString = kinds.pop() if len(kinds) == 1 else "jsonb"
    return kind, len(values) < len(members)


def _scalar(field: inspect.Type) -> LiteralString:
    if isinstance(field, inspect.LiteralType):
        return "text" if isinstance(field.values[0], str) else "bigint"
    return KINDS.get(type(field), "jsonb")
