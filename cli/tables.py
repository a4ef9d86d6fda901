"""Rows as people read them: aligned columns, in the manner of kubectl."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

R = TypeVar("R")

COLOURS = {
    "completed": 32, "installed": 32, "valid": 32, "ok": 32, "ready": 32,
    "running": 36, "installing": 36, "rebuilding": 36,
    "paused": 33, "retrying": 33, "pending": 33, "deleting": 33, "warn": 33,
    "failed": 31, "cancelled": 31, "corrupted": 31, "revoked": 31, "fail": 31, "expired": 31,
}  # fmt: skip
"""ANSI colours of the words that say how something is."""

GAP = "   "


@dataclass(frozen=True)
class Column(Generic[R]):
    """`wide` columns show only when asked for."""

    title: str
    cell: Callable[[R], str]
    wide: bool = False


@dataclass(frozen=True)
class View(Generic[R]):
    """How rows of one type are shown. `name` identifies one; `kind` says what it is."""

    kind: str
    name: Callable[[R], str]
    columns: tuple[Column[R], ...]

    def preceded_by(self, column: Column[R]) -> "View[R]":
        """The same with one more column in front."""
        return replace(self, columns=(column, *self.columns))


class Table(Generic[R]):
    """Lines of a table that may go on: later rows keep to the columns of the first ones."""

    def __init__(self, view: View[R], *, wide: bool = False, colour: bool = False) -> None:
        self._columns = [column for column in view.columns if wide or not column.wide]
        self._widths = [width(column.title) for column in self._columns]
        self._colour = colour
        self._begun = False

    def lines(self, rows: Sequence[R]) -> list[str]:
        """The rows, below the titles if these are the first."""
        cells = [[printable(column.cell(row)) for column in self._columns] for row in rows]
        for line in cells:
            self._widths = [max(w, width(c)) for w, c in zip(self._widths, line, strict=True)]
        titles = [] if self._begun else [self._line([c.title for c in self._columns])]
        self._begun = True
        return titles + [self._line(line) for line in cells]

    def _line(self, cells: Sequence[str]) -> str:
        padded = [
            self._coloured(cell) + " " * (room - width(cell))
            for cell, room in zip(cells, self._widths, strict=True)
        ]
        return GAP.join(padded).rstrip()

    def _coloured(self, cell: str) -> str:
        return coloured(cell) if self._colour else cell


def coloured(word: str) -> str:
    """`word` in the colour of what it says, if it has one."""
    return f"\x1b[{COLOURS[word]}m{word}\x1b[0m" if word in COLOURS else word


def printable(text: str) -> str:
    """`text` with nothing in it that could move a cursor: names come from strangers."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def width(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a line; pairs without a value are left out. What has more lines
    goes on below itself."""
    shown = [(name, value) for name, value in pairs if value]
    room = max((width(name) for name, _ in shown), default=0) + 1
    below = f"\n{' ' * (room + 2)}"
    return "\n".join(
        f"{name + ':':<{room}}  {below.join(map(printable, value.splitlines()))}"
        for name, value in shown
    )
