"""The SQL that a table's declaration amounts to.

Rows travel to Postgres as one JSON parameter and are spread there by the table's own type: the
same statement writes one row or thousands, and no list of types has to be kept on this side.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, LiteralString, NamedTuple

import msgspec
from psycopg.sql import SQL, Composed, Identifier

from projections.table import HISTORY, Column, Superseded, Table, columns

BESIDE = "__next"
"""Put after the names of the tables that a rebuild fills."""

ZEROS: Mapping[LiteralString, LiteralString] = {
    "text": "''",
    "bigint": "0",
    "double precision": "0",
    "boolean": "false",
    "timestamptz": "'epoch'",
    "jsonb": "'[]'",
}
"""What a new column holds in rows that are older than it, until they are folded again."""


encode = msgspec.json.Encoder().encode


class Statements(NamedTuple):
    """Each takes one parameter, a JSON array of objects. `load` answers with rows."""

    load: bytes
    put: bytes
    drop: bytes
    supersede: bytes


def live(table: Table[Any], suffix: str = "") -> str:
    return f"{table.name}{suffix}"


def history(table: Table[Any], suffix: str = "") -> str:
    return f"{table.name}_history{suffix}"


def listed(names: Iterable[str], of: str = "") -> Composed:
    """Column names with commas between, of the relation called `of` if it needs saying."""
    said = (Identifier(of, name) if of else Identifier(name) for name in names)
    return SQL(", ").join(said)


@cache
def statements(table: Table[Any], suffix: str = "") -> Statements:
    names = [column.name for column in columns(table)]
    relation = Identifier(live(table, suffix))
    rest = [name for name in names if name not in table.key]
    load = SQL("SELECT {} FROM {} t JOIN json_populate_recordset(NULL::{}, %s) k USING ({})")
    put = SQL("{} ON CONFLICT ({}) DO UPDATE SET ({}) = ROW ({})")
    drop = SQL("DELETE FROM {} t USING json_populate_recordset(NULL::{}, %s) k WHERE ({}) = ({})")
    supersede = _insert(history(table, suffix), [*names, *(column.name for column in HISTORY)])
    return Statements(
        load.format(listed(names, "t"), relation, relation, listed(table.key)).as_bytes(),
        put.format(
            _insert(live(table, suffix), names),
            listed(table.key),
            listed(rest),
            listed(rest, "excluded"),
        ).as_bytes(),
        drop.format(relation, relation, listed(table.key, "t"), listed(table.key, "k")).as_bytes(),
        supersede.as_bytes(),
    )


def _insert(relation: str, names: Sequence[str]) -> Composed:
    return SQL("INSERT INTO {} ({}) SELECT {} FROM json_populate_recordset(NULL::{}, %s)").format(
        Identifier(relation), listed(names), listed(names), Identifier(relation)
    )


def keys_parameter(table: Table[Any], keys: Iterable[Sequence[object]]) -> str:
    return _json(dict(zip(table.key, key, strict=True)) for key in keys)


def rows_parameter(rows: Iterable[msgspec.Struct]) -> str:
    return _json(map(msgspec.structs.asdict, rows))


def superseded_parameter(versions: Iterable[Superseded[Any]]) -> str:
    return _json(
        msgspec.structs.asdict(version.row)
        | {"to_position": version.to_position, "to_at": version.to_at}
        for version in versions
    )


def _json(objects: Iterable[Mapping[str, object]]) -> str:
    """One by one, so that never more than one row is a dictionary."""
    return (b"[" + b",".join(map(encode, objects)) + b"]").decode()


def creation(table: Table[Any], suffix: str = "") -> Iterator[Composed]:
    """Create the table, or give an older form of it the columns it lacks."""
    named = {column.name: column for column in columns(table)}
    key = [named.pop(name) for name in table.key]
    yield from _relation(live(table, suffix), key, named.values(), primary=True)
    if table.history:
        rest = (*named.values(), *HISTORY)
        yield from _relation(history(table, suffix), key, rest, primary=False)


def _relation(
    name: str, key: Sequence[Column], rest: Iterable[Column], *, primary: bool
) -> Iterator[Composed]:
    parts = [SQL("{} {} NOT NULL").format(Identifier(c.name), SQL(c.kind)) for c in key]
    if primary:
        parts.append(SQL("PRIMARY KEY ({})").format(listed(column.name for column in key)))
    yield SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(Identifier(name), SQL(", ").join(parts))
    added = (SQL("ADD COLUMN IF NOT EXISTS {}").format(_definition(column)) for column in rest)
    yield SQL("ALTER TABLE {} {}").format(Identifier(name), SQL(", ").join(added))


def _definition(column: Column) -> Composed:
    need = SQL("") if column.nullable else SQL("NOT NULL DEFAULT ") + SQL(ZEROS[column.kind])
    return SQL("{} {} {}").format(Identifier(column.name), SQL(column.kind), need)


def indexes(table: Table[Any], suffix: str = "") -> Iterator[Composed]:
    for relation, name, by in _indexes(table, suffix):
        yield SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
            Identifier(name), Identifier(relation), listed(by)
        )


def _indexes(table: Table[Any], suffix: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Relation, name and columns of every index but the primary key's."""
    wanted = {live(table, suffix): [*table.indexes]}
    if table.order != table.key:
        wanted[live(table, suffix)].append(table.order)
    if table.history:
        wanted[history(table, suffix)] = [table.order, (*table.key, "position")]
    for relation, all_columns in wanted.items():
        for number, by in enumerate(all_columns, 1):
            yield relation, f"{relation}_{number}", by


def removal(table: Table[Any], suffix: str = "") -> Composed:
    names = [live(table, suffix), history(table, suffix)]
    return SQL("DROP TABLE IF EXISTS {}").format(listed(names))


def renaming(table: Table[Any]) -> Iterator[Composed]:
    """Give what was built beside the names of the live ones, which must be gone."""
    relations = [(live(table, BESIDE), live(table))]
    if table.history:
        relations.append((history(table, BESIDE), history(table)))
    for old, new in relations:
        yield SQL("ALTER TABLE {} RENAME TO {}").format(Identifier(old), Identifier(new))
    names = zip(_indexes(table, BESIDE), _indexes(table, ""), strict=True)
    renamed = [(old, new) for (_, old, _), (_, new, _) in names]
    for old, new in [*renamed, (f"{live(table, BESIDE)}_pkey", f"{live(table)}_pkey")]:
        yield SQL("ALTER INDEX {} RENAME TO {}").format(Identifier(old), Identifier(new))
