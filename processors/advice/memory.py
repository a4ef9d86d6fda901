"""How much of a card's memory a model takes: its weights, its keys and values, and the engine.

Pure arithmetic on facts. Bytes are of one GPU, the fullest.
"""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.advice import GpuProfile, Serving
from schemas.engine import LLAMACPP, VLLM, BuiltIn, suited
from schemas.facts import Facts

GIB = 1 << 30
MIB = 1 << 20

FLOATS: Mapping[str, int] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}

CACHED: Mapping[str, tuple[int, int]] = {
    "float16": (2, 1), "bfloat16": (2, 1), "fp8": (1, 1), "q8_0": (34, 32), "q4_0": (18, 32),
}  # fmt: skip
"""Bytes for how many numbers, by the type of the cache; of ggml's, a block has a scale."""

RUNTIME = 768 * MIB
"""What CUDA, its libraries' work space and PyTorch take before there is a model."""

COLLECTIVES = 512 * MIB
"""NCCL's and custom all-reduce's buffers, as soon as there is more than one GPU."""

GRAPHS = 512 * MIB
"""vLLM's CUDA graphs of its usual batch sizes."""

STEP_BIG, STEP_SMALL = 8192, 2048
"""Tokens that vLLM computes in one step at most: more on cards of 70 GiB and more."""

BUFFERS = 16
"""How many vectors of the hidden size a token needs while a layer is computed: the residual, the
normed input, queries, keys and values, and the two wide ones of the feed-forward layer."""

SAMPLED = 256
"""Sequences for which vLLM tries the sampler out when it starts (`max_num_seqs`)."""

UBATCH = 512
"""Tokens that llama.cpp computes at once."""

LLAMA_RUNTIME = 512 * MIB
UTILIZATION: Mapping[BuiltIn, float] = {VLLM: 0.9, LLAMACPP: 0.95}
"""The share of a card that is used: vLLM's own default; for llama.cpp, all but a margin for the
driver and for others."""


class Split(NamedTuple):
    """Over how many GPUs a layer is split, and over how many stages the layers."""

    tensor: int
    pipeline: int

    @property
    def gpus(self) -> int:
        return self.tensor * self.pipeline


class Cache(NamedTuple):
    """Keys and values: bytes for a token in layers that see all, and in those that slide."""

    full: int
    sliding: int
    window: int

    @property
    def token(self) -> int:
        return self.full + self.sliding

    def bytes(self, tokens: int) -> int:
        """Of one sequence."""
        kept = min(tokens, self.window) if self.window else tokens
        return self.full * tokens + self.sliding * kept


def engine_of(facts: Facts, serving: Serving) -> BuiltIn:
    """GGUF is llama.cpp's own format; what vLLM makes of it is experimental."""
    return serving.engine or suited(gguf=facts.format == "gguf")


def weights(facts: Facts, split: Split, serving: Serving) -> int:
    """Layers are split over all GPUs, embedding and head over those of their stage. What is narrow
    is copied to each; layers that predict ahead are left out."""
    new, old = _conversion(facts, serving)
    rest = facts.weight_bytes - facts.draft_bytes
    layers = rest - facts.embedding_bytes - facts.replicated_bytes
    stage = -(-facts.layers // split.pipeline) if facts.layers else 1
    of = facts.layers or split.pipeline
    ends = facts.embedding_bytes if split.pipeline == 1 else -(-facts.embedding_bytes // 2)
    share = layers * stage // of // split.tensor + ends // split.tensor
    copied = facts.replicated_bytes * stage // of
    return (share + copied) * new // old


def _conversion(facts: Facts, serving: Serving) -> tuple[int, int]:
    """Bytes after and before the engine has made one type of all numbers; quantised stay as they
    are."""
    floats = {name: count for name, count in facts.dtypes.items() if name in FLOATS}
    old = sum(FLOATS[name] * count for name, count in floats.items())
    if facts.quantization or facts.format == "gguf" or not old:
        return 1, 1
    wide = 4 if serving.dtype == "float32" else 2
    return wide * sum(floats.values()), old


def cache(facts: Facts, split: Split, serving: Serving) -> Cache:
    """Of the fullest GPU. Heads are split; fewer heads than GPUs are copied, and so is the one
    vector of latent attention."""
    numbers, of = cached_bytes(serving)
    stage = -(-facts.cached_layers // split.pipeline)
    sliding = min(-(-facts.sliding_layers // split.pipeline), stage)
    if facts.kv_lora_rank:
        layer = facts.kv_lora_rank + facts.rope_head_dim
    else:
        heads = -(-facts.kv_heads // split.tensor)
        layer = heads * (facts.head_dim + (facts.value_dim or facts.head_dim))
    each = layer * numbers // of
    return Cache((stage - sliding) * each, sliding * each, facts.sliding_window)


def cached_bytes(serving: Serving) -> tuple[int, int]:
    """Bytes that so many numbers take in the cache."""
    if serving.kv_cache_dtype == "auto":
        return (4, 1) if serving.dtype == "float32" else (2, 1)
    return CACHED[serving.kv_cache_dtype]


def overhead(facts: Facts, gpu: GpuProfile, split: Split, engine: BuiltIn) -> int:
    """What the engine itself takes, beside weights and cache."""
    if engine == LLAMACPP:
        logits = UBATCH * facts.vocabulary * 4
        return LLAMA_RUNTIME + logits + UBATCH * facts.hidden_size * BUFFERS * 4
    fixed = RUNTIME + GRAPHS + (COLLECTIVES if split.gpus > 1 else 0)
    step = STEP_BIG if gpu.memory >= 70 * GIB else STEP_SMALL
    activations = step * facts.hidden_size * BUFFERS * 2
    logits = 2 * SAMPLED * facts.vocabulary * 4
    return fixed + activations + logits


def usable(gpu: GpuProfile, serving: Serving, engine: BuiltIn) -> int:
    share = serving.gpu_memory_utilization or UTILIZATION[engine]
    return int(gpu.memory * share)
