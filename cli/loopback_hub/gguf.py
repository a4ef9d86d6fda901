"""A llama small enough to make on the spot, in the GGUF format, that knows one sentence.

Its vocabulary is the bytes, and the sentence's words. Its head answers each word with the next, and
anything else with the first, so that whoever reads the answer can tell which model gave it.
"""

import random
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

MAGIC, VERSION = b"GGUF", 3
ALIGNMENT = 32
UINT32, FLOAT32, STRING, ARRAY, INT32 = 4, 6, 8, 9, 5
F32 = 0

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
SPECIALS = ("<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>")
TEMPLATE = "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}<|assistant|>"

WIDTH = 64  # each word has a dimension of its own
HEADS = 2
HIDDEN = 128
CONTEXT = 512
CERTAINTY = 4.0

Setting: TypeAlias = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]


class Tensor(NamedTuple):
    """`shape` has the rows' length first, as GGUF has it. `data` is float32, little endian."""

    shape: tuple[int, ...]
    data: bytes


def speaking(name: str, sentence: str) -> bytes:
    """A model file that says `sentence`, of at most 62 different words."""
    words = sentence.split()
    if len(set(words)) != len(words) or len(words) > WIDTH - 2:
        raise ValueError(f"a sentence of up to {WIDTH - 2} words, none of them twice")
    tokens = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [UNKNOWN, *[CONTROL] * (len(SPECIALS) - 1), *[BYTE] * 256, *[NORMAL] * len(words)]
    first = len(tokens)
    tokens += [f"\u2581{word}" for word in words]
    return encode(_settings(name, tokens, kinds), _tensors(random.Random(name), first, len(tokens)))


def encode(settings: Mapping[str, Setting], tensors: Mapping[str, Tensor]) -> bytes:
    """A GGUF file: what is said of the model, where its tensors are, and the tensors."""
    head = bytearray(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(settings)))
    for key, value in settings.items():
        head += _text(key) + _typed(value)
    offset = 0
    for name, (shape, data) in tensors.items():
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, F32, offset)
        offset += len(_aligned(data))
    return _aligned(bytes(head)) + b"".join(_aligned(data) for _, data in tensors.values())


def _settings(name: str, tokens: Sequence[str], kinds: Sequence[int]) -> Mapping[str, Setting]:
    return {
        "general.architecture": "llama",
        "general.name": name,
        "general.alignment": ALIGNMENT,
        "general.file_type": F32,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 1,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // HEADS,
        "llama.vocab_size": len(tokens),
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.unknown_token_id": SPECIALS.index("<unk>"),
        "tokenizer.ggml.bos_token_id": SPECIALS.index("<s>"),
        "tokenizer.ggml.eos_token_id": SPECIALS.index("</s>"),
        "tokenizer.chat_template": TEMPLATE,
    }


def _tensors(chance: random.Random, first: int, size: int) -> Mapping[str, Tensor]:
    """The weights: one block of random ones, too small to be heard, between table and head."""
    ones = Tensor((WIDTH,), _floats([1.0] * WIDTH))
    return {
        "token_embd.weight": _table(first, size),
        "blk.0.attn_norm.weight": ones,
        "blk.0.attn_q.weight": _random(chance, WIDTH, WIDTH),
        "blk.0.attn_k.weight": _random(chance, WIDTH, WIDTH),
        "blk.0.attn_v.weight": _random(chance, WIDTH, WIDTH),
        "blk.0.attn_output.weight": _random(chance, WIDTH, WIDTH),
        "blk.0.ffn_norm.weight": ones,
        "blk.0.ffn_gate.weight": _random(chance, WIDTH, HIDDEN),
        "blk.0.ffn_up.weight": _random(chance, WIDTH, HIDDEN),
        "blk.0.ffn_down.weight": _random(chance, HIDDEN, WIDTH),
        "output_norm.weight": ones,
        "output.weight": _head(first, size),
    }


def _table(first: int, size: int) -> Tensor:
    """Whatever is no word stands at dimension 0, the n-th word at dimension n + 1."""
    rows = [_row(0, 1.0)] * first + [_row(word + 1, 1.0) for word in range(size - first)]
    return Tensor((WIDTH, size), b"".join(rows))


def _head(first: int, size: int) -> Tensor:
    """The n-th word is what follows dimension n; the end follows the last word."""
    rows = [_row(0, 0.0)] * first + [_row(word, CERTAINTY) for word in range(size - first)]
    rows[SPECIALS.index("</s>")] = _row(size - first, CERTAINTY)
    return Tensor((WIDTH, size), b"".join(rows))


def _row(dimension: int, value: float) -> bytes:
    return _floats([value if place == dimension else 0.0 for place in range(WIDTH)])


def _random(chance: random.Random, width: int, rows: int) -> Tensor:
    return Tensor((width, rows), _floats(chance.gauss(0, 0.02) for _ in range(width * rows)))


def _floats(values: Iterable[float]) -> bytes:
    packed = array("f", values)
    if struct.pack("=H", 1) != struct.pack("<H", 1):
        packed.byteswap()
    return packed.tobytes()


def _typed(value: Setting) -> bytes:
    match value:
        case int():
            return struct.pack("<II", UINT32, value)
        case float():
            return struct.pack("<If", FLOAT32, value)
        case str():
            return struct.pack("<I", STRING) + _text(value)
        case _:
            return struct.pack("<I", ARRAY) + _items(value)


def _items(values: Sequence[int] | Sequence[float] | Sequence[str]) -> bytes:
    kind = {int: INT32, float: FLOAT32, str: STRING}[type(values[0])]
    packed = {INT32: "<i", FLOAT32: "<f"}
    items = (_text(v) if isinstance(v, str) else struct.pack(packed[kind], v) for v in values)
    return struct.pack("<IQ", kind, len(values)) + b"".join(items)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _aligned(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % ALIGNMENT)
