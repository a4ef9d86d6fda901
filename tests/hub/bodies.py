"""Ways to spoil a response's body on its way out."""

import os
from collections.abc import Callable
from contextlib import closing

from cli.loopback_hub.connection import Pace
from cli.loopback_hub.message import Body, Piece, Span, length_of, part_of


def bytes_of(piece: Piece) -> bytes:
    if isinstance(piece, Span):
        return os.pread(piece.descriptor, piece.length, piece.offset)
    return bytes(piece)


def interrupted(body: Body, position: int, interrupt: Callable[[], None]) -> Body:
    """Let something happen just before the byte at `position` is sent."""
    passed = 0
    with closing(body):
        for piece in body:
            size = length_of(piece)
            if passed <= position < passed + size:
                yield part_of(piece, 0, position - passed)
                interrupt()
                yield part_of(piece, position - passed, size)
            else:
                yield piece
            passed += size


def slowed(body: Body, bytes_per_second: int, slow: Callable[[], bool]) -> Body:
    """Hold the bytes back for as long as it is to be `slow`."""
    held, free = Pace(bytes_per_second), Pace(None)
    with closing(body):
        for piece in body:
            done = 0
            while left := length_of(piece) - done:
                count = (held if slow() else free).grant(left)
                yield part_of(piece, done, count)
                done += count


def garbled(body: Body) -> Body:
    """The same number of bytes, the first of each piece another than it should be."""
    with closing(body):
        for piece in body:
            yield bytes(byte ^ 0xFF for byte in bytes_of(part_of(piece, 0, 1)))
            yield part_of(piece, 1, length_of(piece))
