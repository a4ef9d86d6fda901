"""The headers of GGUF files: named values, then the tensors' names, shapes and types.

All of it is a stranger's: every count and length is checked against the bytes there are before
anything is made of it, and long lists (a tokenizer's words) are stepped over, not kept.
"""

import struct
from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple, TypeAlias

from processors.facts.ggml import TYPES
from processors.facts.source import Broken, Source, Unreadable
from processors.facts.tensors import MOST_ELEMENTS, Tensor

LONGEST_HEADER = 64 << 20
CHUNK = 1 << 20
MOST_VALUES = 20_000
MOST_TENSORS = 100_000
LONGEST_NAME = 512
LONGEST_KEPT_TEXT = 200
LONGEST_KEPT_LIST = 2_000
DEEPEST_LIST = 3
STRING, LIST = 8, 9
ALIGNMENT = 32

SCALARS: Mapping[int, struct.Struct] = {
    kind: struct.Struct(f"<{code}")
    for kind, code in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip
U32, U64 = SCALARS[4], SCALARS[10]

Scalar: TypeAlias = int | float | bool


class Long(NamedTuple):
    """In place of a list too long to keep, or of something other than numbers: how long it is."""

    length: int


Value: TypeAlias = Scalar | str | tuple[Scalar, ...] | Long


class Header(NamedTuple):
    """`bytes` is where the tensors' data begins."""

    values: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    bytes: int


class Cursor:
    """A place in the header of a file, from which it is read forwards."""

    def __init__(self, source: Source, path: str) -> None:
        self._source = source
        self.path = path
        self._end = min(source.files[path], LONGEST_HEADER)
        self._buffer = b""
        self._begin = 0  # where the buffer begins in the file
        self._at = 0  # where we are in the buffer

    @property
    def position(self) -> int:
        return self._begin + self._at

    @property
    def left(self) -> int:
        return self._end - self.position

    def take(self, length: int) -> bytes:
        """The next bytes. Raises `Unreadable` at the end."""
        self._need(length)
        raw = self._buffer[self._at : self._at + length]
        self._at += length
        return raw

    def scalar(self, kind: struct.Struct) -> Scalar:
        self._need(kind.size)
        value: Scalar = kind.unpack_from(self._buffer, self._at)[0]
        self._at += kind.size
        return value

    def natural(self, kind: struct.Struct, most: int) -> int:
        """Raises `Unreadable` when the number is more than `most`."""
        value = int(self.scalar(kind))
        if value > most:
            raise Unreadable(f"{self.path}: its header makes no sense")
        return value

    def skip(self, length: int) -> None:
        if length > self.left:
            raise self._ended()
        if self._at + length <= len(self._buffer):
            self._at += length
        else:
            self._begin, self._buffer, self._at = self.position + length, b"", 0

    def text(self, most: int) -> str:
        """A string, of which at most `most` bytes are kept."""
        length = self.natural(U64, self.left)
        raw = self.take(min(length, most))
        self.skip(length - len(raw))
        return raw.decode(errors="replace")

    def skip_texts(self, count: int) -> None:
        left = count
        while left := left - self._skip_buffered(left):
            self.skip(self.natural(U64, self.left))
            left -= 1

    def _skip_buffered(self, count: int) -> int:
        """Step over as many strings, `count` at most, as are in the buffer whole."""
        buffer, at, end, done = self._buffer, self._at, len(self._buffer), 0
        while done < count and at + 8 <= end:
            after = at + 8 + U64.unpack_from(buffer, at)[0]
            if after > end:
                break
            at, done = after, done + 1
        self._at = at
        return done

    def _need(self, length: int) -> None:
        if self._at + length <= len(self._buffer):
            return
        if length > self.left:
            raise self._ended()
        begin = self.position
        raw = self._source.read(self.path, begin, min(max(length, CHUNK), self._end - begin))
        if len(raw) < length:
            raise Unreadable(f"{self.path}: shorter than listed")
        self._begin, self._buffer, self._at = begin, raw, 0

    def _ended(self) -> Unreadable:
        if self._end == LONGEST_HEADER:
            return Unreadable(f"{self.path}: its header is too long")
        return Broken(f"{self.path}: its header is cut short")


def header_of(source: Source, path: str) -> Header:
    """Raises `Unreadable`."""
    cursor = Cursor(source, path)
    if cursor.take(4) != b"GGUF":
        raise Broken(f"{path}: not a GGUF file")
    version = cursor.scalar(U32)
    if version not in (2, 3):
        raise Unreadable(f"{path}: GGUF of a version, or byte order, that is not read here")
    tensors = cursor.natural(U64, MOST_TENSORS)
    values = dict(_value(cursor) for _ in range(cursor.natural(U64, MOST_VALUES)))
    found = [_tensor(cursor) for _ in range(tensors)]
    begin = _aligned(cursor.position, values)
    room = source.files[path] - begin
    if found and max(offset + tensor.bytes for tensor, offset in found) > room:
        raise Broken(f"{path}: shorter than its tensors")
    if sum(tensor.bytes for tensor, _ in found) > max(room, 0):
        raise Broken(f"{path}: its tensors overlap")
    return Header(values, tuple(tensor for tensor, _ in found), begin)


def _aligned(position: int, values: Mapping[str, Value]) -> int:
    said = values.get("general.alignment")
    alignment = said if isinstance(said, int) and 0 < said <= CHUNK else ALIGNMENT
    return -(-position // alignment) * alignment


def _value(cursor: Cursor) -> tuple[str, Value]:
    name = cursor.text(LONGEST_NAME)
    return name, _of_kind(cursor, cursor.natural(U32, 12), 0)


def _of_kind(cursor: Cursor, kind: int, depth: int) -> Value:
    if kind == STRING:
        return cursor.text(LONGEST_KEPT_TEXT)
    if kind == LIST:
        return _list(cursor, depth + 1)
    return cursor.scalar(SCALARS[kind])


def _list(cursor: Cursor, depth: int) -> Value:
    kind = cursor.natural(U32, 12)
    length = cursor.natural(U64, cursor.left)
    if kind == STRING:
        cursor.skip_texts(length)
    elif kind == LIST:
        if depth >= DEEPEST_LIST:
            raise Unreadable(f"{cursor.path}: its header makes no sense")
        for _ in range(length):
            _list(cursor, depth + 1)
    elif length <= LONGEST_KEPT_LIST:
        return tuple(cursor.scalar(SCALARS[kind]) for _ in range(length))
    else:
        cursor.skip(length * SCALARS[kind].size)
    return Long(length)


def _tensor(cursor: Cursor) -> tuple[Tensor, int]:
    """A tensor, and where in the data it begins."""
    name = cursor.text(LONGEST_NAME)
    shape = tuple(cursor.natural(U64, MOST_ELEMENTS) for _ in range(cursor.natural(U32, 4)))
    kind = TYPES.get(cursor.natural(U32, 1 << 31))
    offset = cursor.natural(U64, MOST_ELEMENTS)
    elements = prod(shape)
    if kind is None:
        raise Unreadable(f"{cursor.path}: {name!r} is of a type that is not known here")
    if elements > MOST_ELEMENTS or (shape and shape[0] % kind.block):
        raise Unreadable(f"{cursor.path}: its header makes no sense")
    return Tensor(name, kind.name, shape, elements // kind.block * kind.bytes), offset


def numbers(values: Mapping[str, Value], prefix: str) -> Callable[[str], int]:
    """Looks up whole numbers by the rest of their name; 0 for those that are not there."""

    def look(name: str) -> int:
        value = values.get(f"{prefix}.{name}")
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 40:
            return value
        return 0

    return look
