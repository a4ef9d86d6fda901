"""The headers of safetensors files: which tensors there are, of what type and shape, and where.

A file begins with the header's length, 8 bytes little-endian, and the header, a JSON object. All of
it is a stranger's: nothing is believed before it was checked against the file's size.
"""

import threading
from collections.abc import Mapping
from math import prod
from typing import Annotated

import msgspec
from msgspec import Meta

from processors.facts.source import Broken, Source, Unreadable
from processors.facts.tensors import MOST_DIMENSIONS, MOST_ELEMENTS, Tensor

LONGEST_HEADER = 32 << 20
"""Bytes. The format allows three times as many; those of real files are a tenth of this."""

MOST_TENSORS = 200_000
"""In one file: parsed, a header takes ten times the memory that it has bytes."""

FIRST_READ = 256 << 10
"""Most headers are shorter: then one look at the file is enough."""

BITS: Mapping[str, int] = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip

Natural = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A tensor in a header. Offsets count from the header's end."""

    dtype: Annotated[str, Meta(max_length=20)]
    shape: Annotated[tuple[Natural, ...], Meta(max_length=MOST_DIMENSIONS)]
    data_offsets: tuple[Natural, Natural]


parsing = threading.Lock()
"""Headers are fetched several at a time, and parsed one after the other."""

entries = msgspec.json.Decoder(dict[str, msgspec.Raw])
entry = msgspec.json.Decoder(Entry)


def tensors_of(source: Source, path: str) -> list[Tensor]:
    """The tensors of a file. Raises `Unreadable`."""
    size = source.files[path]
    begin = source.read(path, 0, min(size, FIRST_READ))
    length = int.from_bytes(begin[:8], "little") if len(begin) >= 8 else 0
    if not 2 <= length <= size - 8:
        raise Broken(f"{path}: not a safetensors file")
    if length > LONGEST_HEADER:
        raise Unreadable(f"{path}: its header is too long")
    raw = begin[8 : 8 + length]
    if len(raw) < length:
        raw += source.read(path, 8 + len(raw), length - len(raw))
    if len(raw) < length:
        raise Broken(f"{path}: its header is cut short")
    return _parsed(raw, path, size - 8 - length)


def _parsed(raw: bytes, path: str, room: int) -> list[Tensor]:
    if raw.count(b"{") > MOST_TENSORS:
        raise Unreadable(f"{path}: its header lists more than {MOST_TENSORS:,} tensors")
    with parsing:
        return _understood(raw, path, room)


def _understood(raw: bytes, path: str, room: int) -> list[Tensor]:
    try:
        described = entries.decode(raw)
        described.pop("__metadata__", None)
        tensors = [_tensor(name, entry.decode(one), room) for name, one in described.items()]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise Broken(f"{path}: its header makes no sense") from error
    if sum(tensor.bytes for tensor in tensors) > room:
        raise Broken(f"{path}: its tensors overlap")
    return tensors


def _tensor(name: str, found: Entry, room: int) -> Tensor:
    """Raises `ValueError`."""
    start, end = found.data_offsets
    elements = prod(found.shape)
    bits = BITS.get(found.dtype)
    if not start <= end <= room or elements > MOST_ELEMENTS:
        raise ValueError(name)
    if bits is None and elements > 8 * (end - start):
        raise ValueError(name)
    if bits is not None and (elements * bits + 7) // 8 != end - start:
        raise ValueError(name)
    dtype = found.dtype if bits is not None else "other"
    return Tensor(name, dtype, found.shape, end - start)
