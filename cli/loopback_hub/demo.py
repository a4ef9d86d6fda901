"""Models small enough to make on the spot, with the files that real ones have.

That of `demo_model` has random weights: it can be installed and verified, not talked to. Those of
`demo_chats` answer, each with a sentence of its own.
"""

import json
import pickle
import random
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cli.loopback_hub import gguf
from cli.loopback_hub.repository import About, Repo

DEMO_MODEL = "mllm/demo-tiny"
DEMO_CHATS: Mapping[str, str] = {
    "mllm/demo-blue": "I am the blue one of two tiny models, made a moment ago to try things with.",
    "mllm/demo-green": "I am the green one of two tiny models, here to take over from blue.",
}
HIDDEN = 256
VOCABULARY = 2048
SHARDS: Sequence[str] = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

CONFIG: Mapping[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "torch_dtype": "float32",
}

README = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# A tiny model

Random weights in the layout of a real model, for trying an installation.
"""

CHAT_README = """---
license: apache-2.0
library_name: gguf
pipeline_tag: text-generation
---
# A tiny model that answers

It runs on llama.cpp, and whatever it is asked, it says: {sentence}
"""


class Tensor(NamedTuple):
    shape: tuple[int, int]
    data: bytes  # float32, little endian


def demo_model(id: str = DEMO_MODEL) -> Repo:
    """Its repository: configuration, tokenizer, licence, and the weights in two forms."""
    chance = random.Random(id)
    first = {"model.embed_tokens.weight": _tensor(chance, VOCABULARY, HIDDEN)}
    second = {
        "model.layers.0.self_attn.q_proj.weight": _tensor(chance, HIDDEN, HIDDEN),
        "model.layers.0.mlp.up_proj.weight": _tensor(chance, 2 * HIDDEN, HIDDEN),
        "lm_head.weight": _tensor(chance, VOCABULARY, HIDDEN),
    }
    shards = {SHARDS[0]: first, SHARDS[1]: second}
    parameters = sum(rows * columns for (rows, columns), _ in (first | second).values())
    files = {
        "README.md": README.encode(),
        "config.json": _json(CONFIG),
        "tokenizer.json": _json(_tokenizer()),
        "tokenizer_config.json": _json({"tokenizer_class": "PreTrainedTokenizerFast"}),
        "model.safetensors.index.json": _json(_index(shards)),
        **{name: safetensors(tensors) for name, tensors in shards.items()},
        "pytorch_model.bin": pickle.dumps(
            {name: data for name, (_, data) in (first | second).items()}
        ),
    }
    return Repo(id, files, _about(parameters))


def demo_chats() -> Mapping[str, Repo]:
    """The repositories of two models that llama.cpp runs and that say who they are, by id."""
    return {id: demo_chat(id, sentence) for id, sentence in DEMO_CHATS.items()}


def demo_chat(id: str, sentence: str) -> Repo:
    """The repository of a model that says `sentence`: see `gguf.speaking`."""
    name = id.rpartition("/")[2]
    about = About(
        license="apache-2.0",
        tags=("gguf", "llama", "text-generation"),
        library_name="gguf",
        pipeline_tag="text-generation",
    )
    files = {
        "README.md": CHAT_README.format(sentence=sentence).encode(),
        f"{name}-f32.gguf": gguf.speaking(name, sentence),
    }
    return Repo(id, files, about)


def safetensors(tensors: Mapping[str, Tensor]) -> bytes:
    """The tensors in the safetensors format: a length, a JSON header, the data end to end."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (shape, data) in tensors.items():
        offsets = [start, start + len(data)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets}
        start += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values())


def _tensor(chance: random.Random, rows: int, columns: int) -> Tensor:
    row = struct.pack(f"<{columns}f", *(chance.gauss(0, 0.02) for _ in range(columns)))
    return Tensor((rows, columns), row * rows)  # one row throughout: quick to make


def _tokenizer() -> Mapping[str, object]:
    words = {"<unk>": 0, **{f"word{number}": number for number in range(1, VOCABULARY)}}
    return {"version": "1.0", "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"}}


def _index(shards: Mapping[str, Mapping[str, Tensor]]) -> Mapping[str, object]:
    size = sum(len(data) for tensors in shards.values() for _, data in tensors.values())
    places = {tensor: shard for shard, tensors in shards.items() for tensor in tensors}
    return {"metadata": {"total_size": size}, "weight_map": places}


def _about(parameters: int) -> About:
    return About(
        license="apache-2.0",
        tags=("transformers", "safetensors", "pytorch", "llama", "text-generation"),
        library_name="transformers",
        pipeline_tag="text-generation",
        config={"architectures": CONFIG["architectures"], "model_type": CONFIG["model_type"]},
        safetensors={"F32": parameters},
    )


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()
