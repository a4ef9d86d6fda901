"""Data on stdout, in whichever form was asked for."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cli.failures import Misused
from cli.tables import Table, View, printable

R = TypeVar("R")

FORMS = ("table", "wide", "json", "yaml", "name")


class Printer:
    """`output` is one of `FORMS` or `jsonpath=EXPRESSION`. Raises `Misused` when it is not."""

    def __init__(self, output: str, *, quiet: bool, colour: bool) -> None:
        form, _, expression = output.partition("=")
        self._path: Callable[[Any], str] | None = None
        if form == "jsonpath":
            from cli.jsonpath import Template

            self._path = Template(expression).render
        elif output not in FORMS:
            raise Misused(f"-o {output} is no form", f"use {', '.join(FORMS)} or jsonpath=…")
        self._form = form
        self._quiet = quiet
        self.colour = colour

    @property
    def structured(self) -> bool:
        """Whether whoever reads this is a program."""
        return self._form in ("json", "yaml", "jsonpath")

    def rows(self, rows: Sequence[R], view: View[R], empty: str = "") -> None:
        """A list. `empty` is said, beside the data, of a table without rows."""
        if self.structured:
            self._data({"items": rows})
        elif self._bare(rows, view):
            return
        elif rows:
            self._lines(Table(view, wide=self._form == "wide", colour=self.colour).lines(rows))
        elif empty:
            print(empty, file=sys.stderr)

    def row(self, row: R, view: View[R]) -> None:
        """One row."""
        if self.structured:
            self._data(row)
        elif not self._bare([row], view):
            self._lines(Table(view, wide=self._form == "wide", colour=self.colour).lines([row]))

    def changes(self, view: View[R]) -> Callable[[Sequence[R]], None]:
        """A printer of rows that come one after the other, under the same titles."""
        table = Table(view, wide=self._form == "wide", colour=self.colour)

        def show(rows: Sequence[R]) -> None:
            if self.structured:
                for row in rows:
                    self._data(row, lines=True)
            elif not self._bare(rows, view):
                self._lines(table.lines(rows))
            sys.stdout.flush()

        return show

    def value(self, value: object, text: str, *names: str) -> None:
        """Something that is no row: `text` says it to people. `names`, if it has any, are what it
        is about, each with its kind before it: job/ID."""
        if self.structured:
            self._data(value)
        elif names and self._quiet:
            self._lines([printable(name.partition("/")[2]) for name in names])
        elif names and self._form == "name":
            self._lines([printable(name) for name in names])
        else:
            print(text)

    def _bare(self, rows: Sequence[R], view: View[R]) -> bool:
        """Print names only, if that is what was asked for."""
        if self._quiet:
            self._lines([printable(view.name(row)) for row in rows])
        elif self._form == "name":
            self._lines([printable(f"{view.kind}/{view.name(row)}") for row in rows])
        return self._quiet or self._form == "name"

    def _data(self, value: object, *, lines: bool = False) -> None:
        import msgspec  # here, because tables do without it

        encoded = msgspec.json.encode(value)
        if self._path is not None:
            print(self._path(msgspec.json.decode(encoded)))
        elif self._form == "yaml":
            import yaml  # here, because it is slow to import

            plain = msgspec.json.decode(encoded)
            text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
            print(f"---\n{text}" if lines else text, end="")
        else:
            print((encoded if lines else msgspec.json.format(encoded, indent=2)).decode())

    def _lines(self, lines: Sequence[str]) -> None:
        for line in lines:
            print(line)
