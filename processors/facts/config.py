"""What config.json says of a model, in any of the words that the usual model families use."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from processors.facts.fields import Fields, number, text
from processors.facts.packing import packing_of
from processors.facts.tensors import Expected
from schemas.facts import Facts

PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
HEADS = ("num_attention_heads", "n_head", "n_heads")
KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num")
CONTEXT = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length",
)  # fmt: skip
EXPERTS = (
    "num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts",
)  # fmt: skip
PER_TOKEN = (
    "num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_top_k", "moe_topk",
    "top_k_experts", "moe_k",
)  # fmt: skip
SHARED = ("n_shared_experts", "num_shared_experts", "num_shared_expert")
DRAFT = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers")

CACHED = frozenset({"full_attention", "attention", "sliding_attention", "chunked_attention"})
SLIDING = frozenset({"sliding_attention", "chunked_attention"})
ALTERNATING: Mapping[str, int] = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}
"""Models in whose older files it goes without saying that one layer in so many sees all."""

NOT_SAID = "config.json: the global layers' heads differ from the others', and are counted as they"


class Config(NamedTuple):
    """`text` is the part about the language model: all of it, unless there are several parts."""

    facts: Facts
    expected: Expected
    text: Fields


class Caching(NamedTuple):
    """How many layers keep keys and values, and how many of these no more than a window's."""

    layers: int
    sliding: int
    window: int


def understood(whole: Fields) -> Config:
    """The model's shape, without its tensors."""
    part = _text_part(whole)
    layers = part.number(*LAYERS)
    packing = packing_of(part) if part.within("quantization_config") else packing_of(whole)
    experts, per_token = _experts(part)
    facts = Facts(
        architecture=text(next(iter(whole.items("architectures")), "")),
        model_type=whole.text("model_type"),
        quantization=packing.method,
        layers=layers,
        hidden_size=part.number(*HIDDEN),
        context=part.number(*CONTEXT),
        vocabulary=part.number("vocab_size", "padded_vocab_size"),
        experts=experts,
        experts_per_token=per_token,
        shared_experts=part.number(*SHARED) if experts else 0,
        notes=(NOT_SAID,) if part.number("global_head_dim") else (),
    )
    expected = Expected(layers, part.number(*DRAFT), experts, per_token, packing)
    return Config(with_attention(facts, part), expected, part)


def with_attention(facts: Facts, part: Fields) -> Facts:
    heads = part.number(*HEADS)
    latent = part.number("kv_lora_rank")
    rope = part.number("qk_rope_head_dim") if latent else 0
    own = facts.hidden_size // heads if heads else 0
    head_dim = part.number("head_dim", "kv_channels", "attention_head_dim") or own
    if latent:
        head_dim = part.number("qk_nope_head_dim") + rope
    caching = _caching(part, facts.layers)
    return replace(
        facts,
        heads=heads,
        kv_heads=_kv_heads(part, heads),
        head_dim=head_dim,
        value_dim=part.number("v_head_dim") or head_dim,
        kv_lora_rank=latent,
        rope_head_dim=rope,
        cached_layers=caching.layers,
        sliding_window=caching.window,
        sliding_layers=caching.sliding,
    )


def _text_part(whole: Fields) -> Fields:
    """The part about the language model, however deep: never deeper than three."""
    part = whole
    for _ in range(3):
        inner = part.within(*PARTS)
        if not inner or not (inner.number(*LAYERS) or inner.within(*PARTS)):
            return part
        part = inner
    return part


def _experts(part: Fields) -> tuple[int, int]:
    """How many experts a layer has, and how many of these a token meets."""
    inner = part.within("ffn_config")  # DBRX
    per_token = part.number(*PER_TOKEN) or inner.number(*PER_TOKEN)
    if not per_token:  # one number for each layer
        per_token = number(next(iter(part.items("moe_topk")), 0))
    experts = part.number(*EXPERTS) or inner.number(*EXPERTS)
    return (experts, per_token) if experts > 1 else (0, 0)


def _kv_heads(part: Fields, heads: int) -> int:
    inner = part.within("attn_config")  # DBRX, MPT
    if said := part.number(*KV_HEADS) or inner.number("kv_n_heads"):
        return said
    if part.flag("multi_query") and not part.flag("new_decoder_architecture"):
        return 1
    return heads


def _caching(part: Fields, layers: int) -> Caching:
    window = part.number("sliding_window", "sliding_window_size", "attention_chunk_size")
    kinds = [text(kind) for kind in part.items("layer_types") or part.items("layers_block_type")]
    if kinds:
        kinds = kinds[: layers - part.number("num_kv_shared_layers")]
        sliding = sum(kind in SLIDING for kind in kinds) if window else 0
        return Caching(sum(kind in CACHED for kind in kinds), sliding, window if sliding else 0)
    cached = _cached(part, layers)
    sliding = min(_sliding(part, layers), cached) if window else 0
    return Caching(cached, sliding, window if sliding else 0)


def _cached(part: Fields, layers: int) -> int:
    """Layers with attention, of models that have others (state spaces, linear attention)."""
    if every := part.number("full_attention_interval", "attn_layer_period"):
        return layers // every
    if pattern := part.text("hybrid_override_pattern"):
        return pattern.count("*")
    if chosen := part.items("attn_layer_indices"):
        return len(chosen)
    if chosen := part.within("linear_attn_config").items("full_attn_layers"):
        return len(chosen)
    if kinds := part.items("attn_type_list"):
        return sum(kind == 1 for kind in kinds)
    return layers


def _sliding(part: Fields, layers: int) -> int:
    """Layers that see no further back than the window, where no list says which."""
    if not part.flag("use_sliding_window", default=True):
        return 0
    if first := part.number("max_window_layers"):
        return max(layers - first, 0)
    every = part.number("sliding_window_pattern", "_sliding_window_pattern")
    if every := every or ALTERNATING.get(part.text("model_type"), 0):
        return layers - layers // every
    return 0 if part.number("attention_chunk_size") else layers
