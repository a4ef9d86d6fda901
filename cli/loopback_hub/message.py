"""HTTP messages as values. A handler turns a `Request` into a `Response`.

A response's body is a generator of pieces, so whoever wraps a handler may cut, delay or change
what is sent.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, TypeAlias
from urllib.parse import parse_qs


class Span(NamedTuple):
    """Bytes of an open file, to be sent without passing through this process."""

    descriptor: int
    offset: int
    length: int


Piece: TypeAlias = bytes | memoryview | Span
Body: TypeAlias = Generator[Piece, None, None]


def length_of(piece: Piece) -> int:
    return piece.length if isinstance(piece, Span) else len(piece)


def part_of(piece: Piece, start: int, count: int) -> Piece:
    """At most `count` bytes of a piece, from `start` on."""
    if isinstance(piece, Span):
        return Span(piece.descriptor, piece.offset + start, min(count, piece.length - start))
    return memoryview(piece)[start : start + count]


class Hangup(Exception):
    """Leave this client without another byte; with `reset`, rudely (RST instead of FIN)."""

    def __init__(self, reset: bool = False) -> None:
        super().__init__("the connection is closed")
        self.reset = reset


@dataclass(frozen=True)
class Request:
    host: str  # the name of the listener that got it
    method: str
    target: str  # as sent: still percent-encoded, with its query
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    client_left: Callable[[], bool]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> Mapping[str, list[str]]:
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True)


def _unnoticed(*_: int) -> None:
    return None


def whole(data: bytes) -> Body:
    if data:
        yield data


@dataclass(frozen=True)
class Response:
    """What to answer. A body that ends before `length` bytes closes the connection."""

    status: int
    headers: Mapping[str, str]
    length: int
    body: Body
    sent: Callable[[int], None] = _unnoticed  # told of body bytes as they leave, a count at a time
    ended: Callable[[], None] = _unnoticed  # told when nothing more will leave, for whatever reason

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += [f"Content-Length: {self.length}", "", ""]
        return "\r\n".join(lines).encode("latin-1")


Handler: TypeAlias = Callable[[Request], Response]
