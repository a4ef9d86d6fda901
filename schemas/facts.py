"""What a model's own files say of it: its shape, its size, how it is stored.

Read from config.json and from the headers of safetensors and GGUF files; nothing here is guessed,
and what is not written there is 0 or empty.
"""

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from schemas.message import Value

Format: TypeAlias = Literal["safetensors", "gguf", "other"]

PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
"""How the name of a GGUF file ends that is one of several parts."""


def first_part(file: str) -> str:
    """The GGUF file that stands for a model, by any of its parts."""
    return PART.sub(lambda part: f"-00001-of-{part[2]}.gguf", file)


class Facts(Value):
    """`dtypes` counts stored elements by how they are stored (BF16, F8_E4M3, Q4_K …); `parameters`
    and `active_parameters` count what they mean: packed quantised weights are counted unpacked.

    `weight_bytes` are all tensors'. `kv_lora_rank` and `rope_head_dim` belong to latent attention
    (DeepSeek), whose cache is one vector a layer. `cached_layers` of the `layers` keep keys and
    values (those of state spaces and linear attention do not), and `sliding_layers` of these see no
    further back than `sliding_window` tokens. `head_dim` is a key's, `value_dim` a value's.

    `bits` is what a parameter takes, all told. `draft_bytes` and `draft_parameters` belong to
    layers that predict further ahead (MTP): engines leave them out unless told, so `parameters`
    does, and `weight_bytes` does not. Of the rest, `embedding_bytes` are the embedding's and the
    head's, and `replicated_bytes` those that tensor parallelism copies instead of splitting.

    `broken` is why none of the built-in engines can read the files, where that is certain.
    """

    format: Format = "other"
    architecture: str = ""
    model_type: str = ""
    dtypes: Mapping[str, int] = {}
    weight_bytes: int = 0
    parameters: int = 0
    active_parameters: int = 0
    quantization: str = ""
    bits: float = 0.0
    layers: int = 0
    hidden_size: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    value_dim: int = 0
    kv_lora_rank: int = 0
    rope_head_dim: int = 0
    sliding_window: int = 0
    sliding_layers: int = 0
    cached_layers: int = 0
    context: int = 0
    vocabulary: int = 0
    experts: int = 0
    experts_per_token: int = 0
    shared_experts: int = 0
    draft_bytes: int = 0
    draft_parameters: int = 0
    embedding_bytes: int = 0
    replicated_bytes: int = 0
    chat_template: bool = False
    gguf_files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be read, and why."""

    broken: str = ""
