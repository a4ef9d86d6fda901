"""Tensors as the headers of files describe them, and what a model's tensors come to."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

from processors.facts.packing import Packing

MOST_DIMENSIONS = 16
MOST_ELEMENTS = 1 << 62

EXPERT = re.compile(r"(^|\.)experts\.|_exps\.")
EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|embed_in|embed_out|lm_head|tok_embeddings|token_embd|word_embeddings|wte)\."
    r"|^output\.weight$"
)
COPIED = re.compile(
    r"(^|\.)(gate|router|ffn_gate_inp|q_a_proj|kv_a_proj_with_mqa|attn_q_a|attn_kv_a_mqa)\."
)
"""Routers, and the narrow projections of latent attention: too small to be split."""

LAYER = re.compile(r"^(?:model\.)?(?:language_model\.)?(?:model\.)?(?:layers|blk)\.(\d{1,6})\.")
AHEAD = re.compile(r"^(model\.)?mtp(_\w+)?\.")


class Tensor(NamedTuple):
    """`bytes` are those it takes in its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


class Expected(NamedTuple):
    """What has to be known of a model to make sense of its tensors. Layers from `layers` on, if it
    has `draft_layers`, predict further ahead."""

    layers: int = 0
    draft_layers: int = 0
    experts: int = 0
    experts_per_token: int = 0
    packing: Packing = Packing()


@dataclass
class Totals:
    """What tensors come to. `routed` are the parameters of which a token meets only some."""

    dtypes: Counter[str] = field(default_factory=Counter[str])
    bytes: int = 0
    parameters: int = 0
    routed: int = 0
    draft_bytes: int = 0
    draft_parameters: int = 0
    embedding_bytes: int = 0
    replicated_bytes: int = 0

    def active(self, expected: Expected) -> int:
        """How many parameters a token meets."""
        if not expected.experts or not expected.experts_per_token:
            return self.parameters
        met = self.routed * min(expected.experts_per_token, expected.experts) // expected.experts
        return self.parameters - self.routed + met


def count(tensors: Iterable[Tensor], expected: Expected) -> Totals:
    totals = Totals()
    for tensor in tensors:
        totals.dtypes[tensor.dtype] += tensor.elements
        totals.bytes += tensor.bytes
        meant = expected.packing.meant(tensor.name, tensor.dtype, tensor.elements)
        if is_draft(tensor.name, expected):
            totals.draft_bytes += tensor.bytes
            totals.draft_parameters += meant
        else:
            _add(totals, tensor, meant)
    return totals


def _add(totals: Totals, tensor: Tensor, meant: int) -> None:
    totals.parameters += meant
    if EXPERT.search(tensor.name):
        totals.routed += meant
    elif EMBEDDING.search(tensor.name):
        totals.embedding_bytes += tensor.bytes
    elif len(tensor.shape) < 2 or COPIED.search(tensor.name):
        totals.replicated_bytes += tensor.bytes


def is_draft(name: str, expected: Expected) -> bool:
    """Whether a tensor belongs to layers that predict further ahead."""
    if AHEAD.search(name):
        return True
    layer = LAYER.match(name)
    return bool(expected.draft_layers and layer and int(layer[1]) >= expected.layers)
