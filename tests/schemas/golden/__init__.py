"""What was ever stored, one line each. Lines are added; none is changed or removed.

`events.jsonl`: an event of every type and version, with every field said. `messages.jsonl`: whole
commits as the server keeps them, headers and all, and the hash that the next commit carries.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

HOME = Path(__file__).parent


class Line(msgspec.Struct, frozen=True):
    """What every stored event says about itself."""

    type: str
    v: int


class Message(msgspec.Struct, frozen=True):
    headers: dict[str, str]
    data: str
    hash: str


def events() -> Sequence[bytes]:
    return (HOME / "events.jsonl").read_bytes().splitlines()


def messages() -> Sequence[Message]:
    lines = (HOME / "messages.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Message) for line in lines]


def line(stored: bytes) -> Line:
    return msgspec.json.decode(stored, type=Line)


def said(stored: bytes) -> dict[str, Any]:
    """The event as plain JSON."""
    event: dict[str, Any] = msgspec.json.decode(stored)
    return event
