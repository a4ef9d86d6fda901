"""Parameters that several verbs take."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter, Token

from cli.quantities import parse_duration
from schemas.job import Priority

MOMENT = re.compile(
    r"(seq:)?[0-9]{1,18}"
    r"|[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def _duration(_: Any, tokens: Sequence[Token]) -> float:
    return parse_duration(tokens[0].value)


def _moment(_: Any, tokens: Sequence[Token]) -> str:
    said = tokens[0].value
    if not MOMENT.fullmatch(said):
        raise ValueError(
            f"{said!r} is neither a time (2026-11-01T12:00Z) nor a position (seq:4711)"
        )
    return said


def _named(kind: str, *, deep: bool = False) -> Callable[[Any, Sequence[Token]], str]:
    """Takes what `-o name` prints, KIND/NAME, for NAME."""

    def name(_: Any, tokens: Sequence[Token]) -> str:
        said = tokens[0].value
        name = said.removeprefix(f"{kind}/")
        if "/" in name and not deep:
            raise ValueError(f"{said!r} names no {kind}")
        return name

    return name


Duration: TypeAlias = Annotated[float, Parameter(converter=_duration, metavar="DURATION")]
"""Seconds, written like `90s`, `10m` or `7d`."""

Moment: TypeAlias = Annotated[str, Parameter(converter=_moment, metavar="WHEN")]
"""A time or a position, as `?as_of=` takes it."""

Job: TypeAlias = Annotated[str, Parameter(converter=_named("job"), help="A job's id, or job/ID.")]
Weights: TypeAlias = Annotated[str, Parameter(converter=_named("weights", deep=True))]
Secret: TypeAlias = Annotated[str, Parameter(converter=_named("secret"))]
Model: TypeAlias = Annotated[str, Parameter(converter=_named("model"))]
SlotName: TypeAlias = Annotated[str, Parameter(converter=_named("slot"))]
Card: TypeAlias = Annotated[str, Parameter(converter=_named("gpu", deep=True))]
ReadModel: TypeAlias = Annotated[str, Parameter(converter=_named("projection"))]

Yes: TypeAlias = Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask.")]

Everywhere: TypeAlias = Annotated[
    bool, Parameter(name=["--all-namespaces", "-A"], help="Of every namespace.")
]

Importance: TypeAlias = Literal["high", "normal", "low", "0", "1", "2"]

PRIORITIES: Mapping[Importance, Priority] = {
    "high": 0,
    "normal": 1,
    "low": 2,
    "0": 0,
    "1": 1,
    "2": 2,
}


@Parameter(name="*")
@dataclass(frozen=True)
class Patience:
    """Whether to stay until what was asked for is done, and how long."""

    wait: bool = False
    """Wait until it is done, and exit by how it ended."""

    timeout: Duration | None = None
    """With --wait or --watch: give up after this long (90s, 10m). It goes on."""

    def deadline(self) -> float | None:
        """The monotonic time at which patience ends."""
        return None if self.timeout is None else time.monotonic() + self.timeout
