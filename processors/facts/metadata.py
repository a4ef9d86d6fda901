"""What the values in a GGUF file's header say of the model."""

from collections.abc import Mapping

from msgspec.structs import replace

from processors.facts.fields import text
from processors.facts.ggml import FILE_TYPES, PLAIN
from processors.facts.gguf import Long, Value, numbers
from processors.facts.tensors import Expected
from schemas.facts import Facts

SLIDING_EVERY: Mapping[str, int] = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2, "cohere2": 4}
"""Architectures in whose files it goes without saying that one layer in so many sees all."""


def facts_of(values: Mapping[str, Value]) -> tuple[Facts, Expected]:
    """The model's shape, without its tensors."""
    architecture = text(values.get("general.architecture"))
    said = numbers(values, architecture)
    kv_heads, cached = _kv_heads(values, architecture)
    draft = said("nextn_predict_layers")
    layers = max(said("block_count") - draft, 0)
    heads = said("attention.head_count")
    hidden = said("embedding_length")
    head_dim = said("attention.key_length") or (hidden // heads if heads else 0)
    latent = said("attention.kv_lora_rank")
    facts = Facts(
        format="gguf",
        architecture=architecture,
        model_type=architecture,
        quantization=_quantization(values),
        layers=layers,
        hidden_size=hidden,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=head_dim,
        value_dim=said("attention.value_length") or head_dim,
        kv_lora_rank=latent,
        rope_head_dim=said("rope.dimension_count") if latent else 0,
        cached_layers=min(cached, layers) if cached else layers,
        context=said("context_length"),
        vocabulary=said("vocab_size") or _words(values),
        experts=said("expert_count"),
        experts_per_token=said("expert_used_count"),
        shared_experts=said("expert_shared_count"),
        chat_template="tokenizer.chat_template" in values,
    )
    expected = Expected(layers, draft, facts.experts, facts.experts_per_token)
    return _sliding(facts, values, said("attention.sliding_window")), expected


def _kv_heads(values: Mapping[str, Value], architecture: str) -> tuple[int, int]:
    """Heads of the layer with the most, and how many layers have any; 0 when it is not said."""
    said = values.get(f"{architecture}.attention.head_count_kv")
    if isinstance(said, tuple):
        heads = [int(one) for one in said if 0 < one < 1 << 20]
        return max(heads, default=0), len(heads)
    return (said, 0) if isinstance(said, int) and 0 < said < 1 << 20 else (0, 0)


def _sliding(facts: Facts, values: Mapping[str, Value], window: int) -> Facts:
    if not window:
        return facts
    said = values.get(f"{facts.architecture}.attention.sliding_window_pattern")
    layers = 0
    if isinstance(said, tuple):
        layers = sum(bool(one) for one in said[: facts.layers])
    elif every := _every(said) or SLIDING_EVERY.get(facts.architecture, 0):
        layers = facts.layers - facts.layers // every
    return replace(facts, sliding_window=window, sliding_layers=min(layers, facts.cached_layers))


def _every(said: Value | None) -> int:
    return said if isinstance(said, int) and 0 < said < 1000 else 0


def _quantization(values: Mapping[str, Value]) -> str:
    kind = values.get("general.file_type")
    name = FILE_TYPES.get(kind, "") if isinstance(kind, int) else ""
    return "" if name in PLAIN else name


def _words(values: Mapping[str, Value]) -> int:
    words = values.get("tokenizer.ggml.tokens")
    return words.length if isinstance(words, Long) else 0
