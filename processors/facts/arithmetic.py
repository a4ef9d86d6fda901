"""How many parameters a model has, from its configuration alone: for want of readable headers.

Holds for decoders with gated feed-forward layers, which is what nearly all are: Llama's and its
many descendants, dense or with experts, with grouped or latent attention. Biases are left out.
"""

from typing import NamedTuple

from processors.facts.fields import Fields, number
from schemas.facts import Facts

UNGATED = frozenset(
    {"gpt2", "gptj", "gpt_neox", "gpt_bigcode", "opt", "bloom", "falcon", "mpt", "phi", "bert",
     "roberta", "starcoder2", "nemotron"}
)  # fmt: skip


class Parameters(NamedTuple):
    total: int
    active: int


def parameters(facts: Facts, text: Fields) -> Parameters | None:
    """None when the configuration does not say enough."""
    inner = text.number("intermediate_size", "ffn_hidden_size")
    if not (facts.layers and facts.hidden_size and facts.heads and facts.vocabulary and inner):
        return None
    if facts.model_type in UNGATED:
        return None
    tied = text.flag("tie_word_embeddings")
    embedding = facts.vocabulary * facts.hidden_size * (1 if tied else 2)
    common = facts.layers * (_attention(facts, text) + 2 * facts.hidden_size) + facts.hidden_size
    sparse = _sparse_layers(facts, text)
    dense = (facts.layers - sparse) * 3 * facts.hidden_size * inner
    rest = embedding + common + dense
    every, met = _sparse(facts, text, inner)
    return Parameters(rest + sparse * every, rest + sparse * met)


def _attention(facts: Facts, text: Fields) -> int:
    """Of one layer."""
    hidden, heads = facts.hidden_size, facts.heads
    out = heads * facts.value_dim * hidden
    if not facts.kv_lora_rank:
        keys_and_values = facts.kv_heads * (facts.head_dim + facts.value_dim)
        return hidden * (heads * facts.head_dim + keys_and_values) + out
    rank, rope = facts.kv_lora_rank, facts.rope_head_dim
    wide = heads * facts.head_dim
    narrow = text.number("q_lora_rank")
    queries = narrow * (hidden + wide + 1) if narrow else hidden * wide
    up = rank * heads * (facts.head_dim - rope + facts.value_dim)
    return queries + hidden * (rank + rope) + rank + up + out


def _sparse_layers(facts: Facts, text: Fields) -> int:
    """How many layers have experts."""
    if not facts.experts:
        return 0
    dense = {number(layer) for layer in text.items("mlp_only_layers")}
    after = max(facts.layers - text.number("first_k_dense_replace") - len(dense), 0)
    return after // (text.number("decoder_sparse_step", "moe_layer_freq") or 1)


def _sparse(facts: Facts, text: Fields, inner: int) -> tuple[int, int]:
    """The parameters of one layer of experts, and those that a token meets."""
    one = 3 * facts.hidden_size * (text.number("moe_intermediate_size") or inner)
    shared = facts.shared_experts * one
    if wide := text.number("shared_expert_intermediate_size"):
        shared = 3 * facts.hidden_size * wide
    router = facts.hidden_size * facts.experts
    met = min(facts.experts_per_token, facts.experts) * one
    return router + shared + facts.experts * one, router + shared + met
