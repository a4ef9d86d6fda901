"""`--only`: some of a role's parts."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from cli.failures import Misused

T = TypeVar("T")


def chosen(known: Mapping[str, T], only: Sequence[str]) -> dict[str, T]:
    """The parts named by `only`, or all of them. Raises `Misused` for a name nobody knows."""
    for name in only:
        if name not in known:
            raise Misused(f"there is no {name!r} to run", f"known are: {', '.join(known)}")
    return {name: part for name, part in known.items() if not only or name in only}
