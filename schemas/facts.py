"""What a model's own files say of it: its shape, its size, how it is stored.

Read from config.json and from the headers of safetensors and GGUF files; nothing here is guessed,
and what is not written there is 0 or empty.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from schemas.message import Value

Format: TypeAlias = Literal["safetensors", "gguf", "other"]


class Facts(Value):
    """`dtypes` counts stored elements by how they are stored (BF16, F8_E4M3, Q4_K …); `parameters`
    and `active_parameters` count what they mean: packed quantised weights are counted unpacked.

    `weight_bytes` are all tensors'. `kv_lora_rank` and `rope_head_dim` belong to latent attention
    (DeepSeek), whose cache is one vector a layer. `sliding_layers` of the `layers` see no further
    back than `sliding_window` tokens.
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
    kv_lora_rank: int = 0
    rope_head_dim: int = 0
    sliding_window: int = 0
    sliding_layers: int = 0
    context: int = 0
    vocabulary: int = 0
    experts: int = 0
    experts_per_token: int = 0
    chat_template: bool = False
    gguf_files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be read, and why."""
