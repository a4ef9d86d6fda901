"""Files that are all header: real ones of models, without the tensors' bytes, which are a hole."""

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from processors.facts.ggml import TYPES
from processors.facts.safetensors import BITS
from processors.facts.source import Folder


class T(NamedTuple):
    """A tensor to be written down."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return prod(self.shape) * BITS[self.dtype] // 8


def folder(root: Path) -> Folder:
    """The files below `root`, as a source of facts."""
    files = {
        path.relative_to(root).as_posix(): path.stat().st_size
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    return Folder(root, files)


def safetensors_header(tensors: Iterable[T]) -> tuple[bytes, int]:
    """The header of a file with these tensors, and how many bytes come after it."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in tensors:
        end = at + tensor.bytes
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": [at, end],
        }
        at = end
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw, at


def write_sparse(path: Path, header: bytes, rest: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + rest)


def write_model(
    root: Path, config: Mapping[str, Any], tensors: Sequence[T], shards: int = 1
) -> Folder:
    """A repository of safetensors, in so many files with an index."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.json").write_text(json.dumps(config))
    if shards == 1:
        write_sparse(root / "model.safetensors", *safetensors_header(tensors))
        return folder(root)
    placed: dict[str, str] = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = tensors[number::shards]
        write_sparse(root / name, *safetensors_header(part))
        placed |= {tensor.name: name for tensor in part}
    total = sum(tensor.bytes for tensor in tensors)
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder(root)


GGML = {kind.name: number for number, kind in TYPES.items()}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def packed(value: Any) -> bytes:
    """A value with its type, as GGUF has them."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        case [bool(), *_]:
            return struct.pack("<IIQ", 9, 7, len(value)) + bytes(value)
        case [int(), *_]:
            return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
        case _:
            raise TypeError(value)


class G(NamedTuple):
    """A tensor of a GGUF file; the first dimension is the row's."""

    name: str
    type: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        kind = TYPES[GGML[self.type]]
        return prod(self.shape) // kind.block * kind.bytes


def gguf_header(values: Mapping[str, Any], tensors: Sequence[G]) -> tuple[bytes, int]:
    """The header of a file with these values and tensors, and how many bytes come after it."""
    raw = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    raw += b"".join(text(name) + packed(value) for name, value in values.items())
    at = 0
    for tensor in tensors:
        raw += text(tensor.name) + struct.pack("<I", len(tensor.shape))
        raw += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape)
        raw += struct.pack("<IQ", GGML[tensor.type], at)
        at += -(-tensor.bytes // 32) * 32
    return raw + b"\0" * (-len(raw) % 32), at


def each(layers: int, describe: Callable[[int], Iterable[T]]) -> list[T]:
    return [tensor for layer in range(layers) for tensor in describe(layer)]
