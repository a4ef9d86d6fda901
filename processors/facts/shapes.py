"""What the shapes of tensors say where config.json relies on a model family's defaults."""

import re
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from processors.facts.tensors import Tensor
from schemas.facts import Facts

TELLING = re.compile(
    r"(?:^|\.)(?:layers\.0\.self_attn\.(q_proj|k_proj|q_norm)|(embed_tokens))\.weight$"
)


def with_shapes(facts: Facts, tensors: Sequence[Tensor]) -> Facts:
    """The facts, with heads and vocabulary as the first layer's weights show them. Heads can only
    be told apart where each has its norm."""
    if facts.heads and facts.vocabulary:
        return facts
    rows = _rows(tensors)
    if not facts.vocabulary:
        facts = replace(facts, vocabulary=rows.get("embed_tokens", 0))
    wide = rows.get("q_norm", 0)
    queries, keys = rows.get("q_proj", 0), rows.get("k_proj", 0)
    if facts.heads or not wide or queries % wide or keys % wide:
        return facts
    return replace(
        facts, heads=queries // wide, kv_heads=keys // wide, head_dim=wide, value_dim=wide
    )


def _rows(tensors: Sequence[Tensor]) -> Mapping[str, int]:
    """The first dimension of the tensors that tell, the first of each kind."""
    found: dict[str, int] = {}
    for tensor in tensors:
        match = TELLING.search(tensor.name)
        if match and tensor.shape and _of_text(tensor.name):
            found.setdefault(match[1] or match[2], tensor.shape[0])
    return found


def _of_text(name: str) -> bool:
    """Whether a tensor is not of a part that sees or hears."""
    return not re.search(r"vision|visual|audio|image", name)
