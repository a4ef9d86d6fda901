"""What the engine and its Xet child say to one another: JSON, a line each."""

from typing import TypeAlias

import msgspec


class Ordered(msgspec.Struct, frozen=True):
    """A file of the repository, and where to put it."""

    path: str
    size: int
    destination: str


class Order(msgspec.Struct, frozen=True):
    """All the child is to do: the one line on its stdin."""

    endpoint: str
    repo: str
    commit: str
    token: str
    files: tuple[Ordered, ...]


class Got(msgspec.Struct, frozen=True, array_like=True, tag="got"):
    """So many more bytes came over the network."""

    bytes: int


class Wrote(msgspec.Struct, frozen=True, array_like=True, tag="wrote"):
    """So many more bytes of the current file are on disk."""

    bytes: int


class Whole(msgspec.Struct, frozen=True, array_like=True, tag="whole"):
    """This file is all there; the next one begins."""

    path: str


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """It will not work. The last line."""

    why: str


Line: TypeAlias = Got | Wrote | Whole | Refused

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


def encode(line: Line) -> bytes:
    return _encoder.encode(line) + b"\n"


def decode(raw: bytes) -> Line:
    """Raises msgspec.DecodeError for what is no line of ours."""
    line: Line = _decoder.decode(raw)
    return line
