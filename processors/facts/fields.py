"""Looking things up in JSON that strangers wrote: what is not of the right kind is not there."""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from processors.facts.source import Unreadable

LARGEST = 1 << 40
LONGEST_TEXT = 100
LONGEST_LIST = 100_000


class Fields:
    """An object of a JSON document, or nothing."""

    def __init__(self, said: Any) -> None:
        self._said = cast(dict[str, Any], said) if isinstance(said, dict) else {}

    def __bool__(self) -> bool:
        return bool(self._said)

    def __contains__(self, name: str) -> bool:
        return name in self._said

    def within(self, *names: str) -> "Fields":
        """The first object among the fields of these names."""
        return next((found for name in names if (found := Fields(self._said.get(name)))), NOTHING)

    def values(self) -> Sequence[Any]:
        return list(self._said.values())

    def number(self, *names: str) -> int:
        """The first positive whole number among the fields of these names; 0 if there is none."""
        return next((value for name in names if (value := number(self._said.get(name)))), 0)

    def text(self, *names: str) -> str:
        return next((value for name in names if (value := text(self._said.get(name)))), "")

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._said.get(name)
        return value if isinstance(value, bool) else default

    def items(self, name: str) -> Sequence[Any]:
        """The list of that name."""
        value = self._said.get(name)
        return cast(Sequence[Any], value)[:LONGEST_LIST] if isinstance(value, list) else ()


NOTHING = Fields(None)


def number(value: Any) -> int:
    """`value` if it is a whole number that can be a dimension, else 0."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 < value <= LARGEST else 0


def text(value: Any) -> str:
    """`value` if it is one line of text, as far as is worth keeping, else empty."""
    if not isinstance(value, str) or not value.isprintable():
        return ""
    return value[:LONGEST_TEXT]


def decoded(raw: bytes, path: str) -> Fields:
    """Raises `Unreadable` for what is no JSON object."""
    try:
        said = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{path}: not JSON") from error
    if not isinstance(said, dict):
        raise Unreadable(f"{path}: not a JSON object")
    return Fields(cast(dict[str, Any], said))
