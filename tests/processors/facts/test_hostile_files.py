"""Files that mean harm, or are damaged: facts say so in notes, soon, and nothing is raised."""

import json
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processors.advice.fit import fit
from processors.advice.gpus import shipped
from processors.facts.reading import read_facts
from schemas.advice import Fit, Serving
from schemas.facts import Facts
from tests.processors.facts.headers import G, folder, gguf_header, text, write_sparse


def safetensors(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


def entry(**fields: Any) -> bytes:
    usual = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    return json.dumps({"a": usual | fields}).encode()


def read(root: Path, **files: bytes) -> Facts:
    """Facts of files; in their names, `__` stands for a dot."""
    for name, content in files.items():
        (root / name.replace("__", ".")).write_bytes(content)
    began = time.process_time()  # a machine that does something else meanwhile does not count
    facts = read_facts(folder(root))
    assert time.process_time() - began < 30
    return facts


HOSTILE_SAFETENSORS: Mapping[str, bytes] = {
    "empty": b"",
    "too short for a length": b"1234",
    "a length beyond all bounds": safetensors(b"{}", (1 << 64) - 1),
    "a length beyond the file": safetensors(b"{}", 1 << 20),
    "a length of nothing": safetensors(b"", 0),
    "not JSON": safetensors(b"\x80\x04pickle"),
    "a list": safetensors(b"[]"),
    "a deep nest": safetensors(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "a nest of objects": safetensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "negative offsets": safetensors(entry(data_offsets=[-16, 0])) + b"\0" * 16,
    "offsets beyond the file": safetensors(entry(data_offsets=[0, 1 << 50])),
    "offsets the wrong way round": safetensors(entry(data_offsets=[16, 0])) + b"\0" * 16,
    "a shape that does not fit": safetensors(entry(shape=[1 << 40, 1 << 40])) + b"\0" * 16,
    "a shape of a type that nobody knows": safetensors(
        entry(dtype="F1024", shape=[1 << 60], data_offsets=[0, 0])
    ),
    "a shape of many dimensions": safetensors(entry(shape=[1] * 1000)) + b"\0" * 16,
    "a negative shape": safetensors(entry(shape=[-2, -2])) + b"\0" * 16,
    "numbers beyond 64 bits": safetensors(entry(shape=[10**30])) + b"\0" * 16,
    "fractions": safetensors(entry(shape=[2.5])) + b"\0" * 16,
    "more tensors than any model has": safetensors(
        b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
        + b"".join(
            b',"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % n for n in range(200_000)
        )
        + b"}"
    ),
    "bytes that are no text": safetensors(b'{"\xff\xfe": 1}'),
    "the same bytes a thousand times": safetensors(
        json.dumps(
            {
                str(number): {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
                for number in range(1000)
            }
        ).encode()
    )
    + b"\0" * 16,
}


@pytest.mark.parametrize("content", HOSTILE_SAFETENSORS.values(), ids=HOSTILE_SAFETENSORS)
def test_a_damaged_safetensors_file_is_noted(tmp_path: Path, content: bytes) -> None:
    facts = read(tmp_path, model__safetensors=content)

    assert facts.format == "safetensors"
    assert facts.parameters == 0
    assert not facts.dtypes
    assert any(note.startswith("model.safetensors: ") for note in facts.notes)


@pytest.mark.parametrize(
    ("name", "content", "broken"),
    [
        ("m.gguf", b"garbage, and more of it", "m.gguf: not a GGUF file"),
        ("m.gguf", b"GGUF\3\0", "m.gguf: its header is cut short"),
        ("m-00001-of-00002.gguf", b"", "m-00002-of-00002.gguf: not there"),
        ("m.safetensors", b"garbage", "m.safetensors: not a safetensors file"),
        ("m.gguf", b"GGUF" + struct.pack("<IQQ", 9, 0, 0), ""),
    ],
)
def test_only_what_no_engine_can_read_is_broken(
    tmp_path: Path, name: str, content: bytes, broken: str
) -> None:
    (tmp_path / name).write_bytes(content)

    facts = read_facts(folder(tmp_path))

    assert facts.broken == broken
    assert facts.notes
    assert fit(facts, shipped().gpus[0]).verdict == "unknown"


def gguf(tensors: int = 0, values: int = 0, body: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + body


def listed(kind: int, count: int) -> bytes:
    return text("a") + struct.pack("<IIQ", 9, kind, count)


def tensor(shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    dims = struct.pack(f"<{len(shape)}Q", *shape)
    return text("t") + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", kind, offset)


HOSTILE_GGUF: Mapping[str, bytes] = {
    "empty": b"",
    "another magic": b"GGML" + b"\0" * 40,
    "the first version": gguf(version=1),
    "the other byte order": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "billions of values": gguf(values=1 << 60),
    "billions of tensors": gguf(tensors=1 << 60),
    "values that are not there": gguf(values=1000),
    "a name without an end": gguf(values=1, body=struct.pack("<Q", 1 << 62) + b"name"),
    "a value of no known type": gguf(values=1, body=text("a") + struct.pack("<I", 99)),
    "a list of billions": gguf(values=1, body=listed(4, 1 << 61)),
    "a list of billions of texts": gguf(values=1, body=listed(8, 1 << 61)),
    "lists of lists of lists": gguf(
        values=1, body=text("a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 100_000
    ),
    "a tensor of many dimensions": gguf(tensors=1, body=tensor((1,) * 9)),
    "a tensor beyond all bounds": gguf(tensors=1, body=tensor((1 << 61, 1 << 61))),
    "a tensor beyond the file": gguf(tensors=1, body=tensor((1 << 40,))),
    "a tensor at the end of the world": gguf(tensors=1, body=tensor((1,), offset=1 << 61)),
    "a type that nobody knows": gguf(tensors=1, body=tensor((32,), kind=77)),
    "half a block": gguf(tensors=1, body=tensor((17,), kind=2)) + b"\0" * 100,
}


@pytest.mark.parametrize("content", HOSTILE_GGUF.values(), ids=HOSTILE_GGUF)
def test_a_damaged_gguf_file_is_noted(tmp_path: Path, content: bytes) -> None:
    facts = read(tmp_path, model__gguf=content)

    assert facts.format == "gguf"
    assert facts.parameters == 0
    assert any(note.startswith("model.gguf: ") for note in facts.notes)


def test_a_gguf_file_of_endless_empty_words_does_not_keep_us(tmp_path: Path) -> None:
    words = 7_000_000
    body = listed(8, words) + b"\0" * (8 * words)

    facts = read(tmp_path, model__gguf=gguf(values=1, body=body))

    assert facts.format == "gguf"


def test_strange_values_of_a_gguf_file_are_not_believed(tmp_path: Path) -> None:
    values = {
        "general.architecture": "qwen2\x1b[31m",
        "general.file_type": 4_000_000_000,
        "general.alignment": 0,
        "qwen2.block_count": 4_000_000_000,
    }
    write_sparse(tmp_path / "m.gguf", *gguf_header(values, [G("a", "F32", (32,))]))

    facts = read_facts(folder(tmp_path))

    assert facts.parameters == 32
    assert facts.architecture == ""
    assert facts.layers == 0


HOSTILE_CONFIGS: Mapping[str, bytes] = {
    "not JSON": b"{",
    "a list": b"[1, 2]",
    "a deep nest": b'{"text_config":' * 50_000 + b"1" + b"}" * 50_000,
    "not text": b"\xff\xfe\x00",
    "numbers in place of objects": b'{"text_config": 1, "quantization_config": 2}',
    "texts in place of numbers": b'{"num_hidden_layers": "32", "hidden_size": "4096"}',
    "objects in place of everything": (
        b'{"architectures": {}, "num_hidden_layers": {}, "layer_types": {}, "head_dim": {}}'
    ),
    "huge numbers": b'{"num_hidden_layers": 1e308, "hidden_size": 99999999999999999999}',
    "negative numbers": b'{"num_hidden_layers": -3, "num_attention_heads": -1}',
    "true in place of one": b'{"num_hidden_layers": true, "num_attention_heads": true}',
    "names of other things": b'{"architectures": ["a\\u001b[2J", 7], "model_type": ["x"]}',
}


@pytest.mark.parametrize("config", HOSTILE_CONFIGS.values(), ids=HOSTILE_CONFIGS)
def test_a_strange_configuration_says_nothing(tmp_path: Path, config: bytes) -> None:
    facts = read(tmp_path, config__json=config)

    assert facts.layers == facts.heads == facts.parameters == 0
    assert facts.architecture == facts.model_type == ""


def test_figures_that_can_not_be_are_not_believed_and_fit_into_the_log(tmp_path: Path) -> None:
    most = (1 << 40) - 1
    names = (
        "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "hidden_size", "vocab_size", "intermediate_size", "max_position_embeddings",
        "num_experts", "num_experts_per_tok", "moe_intermediate_size", "sliding_window",
    )  # fmt: skip

    facts = read(tmp_path, config__json=json.dumps({name: most for name in names}).encode())

    assert facts.layers == facts.heads == facts.context == facts.parameters == 0
    assert "can not be" in facts.notes[0]
    assert msgspec.json.decode(msgspec.json.encode(facts), type=Facts) == facts


def test_the_largest_figures_that_are_believed_can_still_be_reckoned_with(tmp_path: Path) -> None:
    said = {
        "num_hidden_layers": 10_000, "num_attention_heads": 100_000, "head_dim": 1 << 20,
        "hidden_size": 1 << 24, "vocab_size": 1 << 28, "max_position_embeddings": 1 << 30,
        "intermediate_size": (1 << 40) - 1,
    }  # fmt: skip

    facts = read(tmp_path, config__json=json.dumps(said).encode(), pytorch_model__bin=b"x")
    asked = Serving(context=100_000_000, batch=100_000, dtype="float32")
    found = fit(facts, shipped().gpus[0], asked)

    assert facts.layers == 10_000
    assert facts.parameters == 0
    assert found.verdict == "does-not-fit"
    assert msgspec.json.decode(msgspec.json.encode(found), type=Fit) == found


def test_a_configuration_beyond_all_bounds_is_not_read(tmp_path: Path) -> None:
    facts = read(tmp_path, config__json=b" " * (11 << 20))

    assert facts.notes[0].startswith("config.json: 11,534,336 bytes")


def test_a_link_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text('{"num_hidden_layers": 32}')
    root = tmp_path / "model"
    root.mkdir()
    (root / "config.json").symlink_to(elsewhere)

    assert read_facts(folder(root)).layers == 0


def test_what_can_not_be_read_of_one_shard_does_not_hide_what_the_files_weigh(
    tmp_path: Path,
) -> None:
    names = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}
    index = json.dumps({"weight_map": names}).encode()
    (tmp_path / "model-1.safetensors").write_bytes(safetensors(entry()) + b"\0" * 16)
    (tmp_path / "model-2.safetensors").write_bytes(b"damaged")

    facts = read(tmp_path, model__safetensors__index__json=index)

    assert facts.parameters == 0
    assert facts.weight_bytes == sum(p.stat().st_size for p in tmp_path.glob("*.safetensors"))
    assert "model-2.safetensors: not a safetensors file" in facts.notes
    assert "model-3.safetensors: not there" in facts.notes


def test_notes_are_few_short_and_printable(tmp_path: Path) -> None:
    names = {str(n): f"{'x' * 250}\x1b{n}.safetensors" for n in range(500)}
    index = json.dumps({"weight_map": names}).encode()

    facts = read(tmp_path, model__safetensors__index__json=index, a__safetensors=b"")

    assert len(facts.notes) <= 20
    assert all(len(note) <= 300 and note.isprintable() for note in facts.notes)
