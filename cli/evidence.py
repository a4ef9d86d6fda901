"""What stands behind a failure, line by line: an engine's last words, checks, who holds GPUs."""

from collections.abc import Mapping
from typing import Any

import msgspec

from cli.tables import printable
from schemas.checks import Check, Holder


def headed(message: str) -> tuple[str, tuple[str, ...]]:
    """What a message says first, and the lines that it goes on with."""
    head, *rest = message.strip().splitlines() or [""]
    return (head.rstrip(": ") if rest else head), tuple(line.rstrip() for line in rest)


def indented(message: str, room: int) -> str:
    """The message with every line but the first below its beginning, `room` columns in."""
    return f"\n{' ' * room}".join(printable(line.rstrip()) for line in message.splitlines())


def lines_of(details: Mapping[str, Any]) -> tuple[str, ...]:
    """The checks that a refusal was for, and who holds what it would take; nothing of what a newer
    server says in another way."""
    try:
        known = msgspec.convert(details, _Known)
    except msgspec.ValidationError:
        return ()
    return (
        *(_check(check) for check in known.checks if check.outcome != "pass"),
        *(f"GPUs held by {one.name}: {one.gpus}" for one in known.holders),
    )


class _Known(msgspec.Struct):
    """What may be among the details of a problem."""

    checks: tuple[Check, ...] = ()
    holders: tuple[Holder, ...] = ()


def _check(check: Check) -> str:
    remedy = f" ({check.remedy})" if check.remedy else ""
    return f"{check.outcome} {check.name}: {check.reason}{remedy}"
