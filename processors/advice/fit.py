"""Whether a model fits on so many cards of a kind, and the arithmetic that says so."""

from collections.abc import Iterator
from typing import NamedTuple

from processors.advice.memory import (
    GIB,
    Cache,
    Split,
    cache,
    cached_bytes,
    engine_of,
    overhead,
    usable,
    weights,
)
from schemas.advice import Fit, GpuProfile, Serving, Verdict
from schemas.engine import LLAMACPP, VLLM, BuiltIn
from schemas.facts import Facts

USUAL_CONTEXT = 8192
"""Tokens to plan for when nobody says how many, of a model that can do more."""

NODE = 8
"""GPUs in a machine: tensor parallelism is for them, and stages for what is beyond."""

MOST_GPUS = 64
MOST_BYTES = (1 << 63) - 1
SPARE = 0.1
"""With less than this part of the usable memory left over, it is tight."""


class Load(NamedTuple):
    """What one GPU, the fullest, has to hold, and what of it there is room for."""

    split: Split
    usable: int
    weights: int
    overhead: int
    cache: Cache
    context: int
    batch: int

    @property
    def room(self) -> int:
        """For keys and values; negative when not even the weights fit."""
        return self.usable - self.weights - self.overhead

    @property
    def wanted(self) -> int:
        return self.batch * self.cache.bytes(self.context)

    @property
    def sequences(self) -> int:
        each = self.cache.bytes(self.context)
        return max(self.room, 0) // each if each else 0

    @property
    def tokens(self) -> int:
        if self.cache.sliding or not self.cache.token:
            return self.sequences * self.context
        return max(self.room, 0) // self.cache.token

    @property
    def verdict(self) -> Verdict:
        if self.room < self.wanted:
            return "does-not-fit"
        return "tight" if self.room - self.wanted < SPARE * self.usable else "fits"


def fit(facts: Facts, gpu: GpuProfile, serving: Serving | None = None) -> Fit:
    """How a model would do on cards of this kind."""
    serving = serving or Serving()
    engine = engine_of(facts, serving)
    least = next(
        (
            split.gpus
            for split in splits(facts, engine)
            if load(facts, gpu, split, serving, engine).verdict != "does-not-fit"
        ),
        0,
    )
    split = chosen(facts, serving, engine, least or NODE)
    found = load(facts, gpu, split, serving, engine)
    return Fit(
        verdict=found.verdict if told(facts) else "unknown",
        gpus=split.gpus,
        tensor_parallel=split.tensor,
        pipeline_parallel=split.pipeline,
        context=found.context,
        batch=found.batch,
        memory=gpu.memory,
        usable=found.usable,
        weights=found.weights,
        overhead=found.overhead,
        kv_token=found.cache.token,
        kv_cache=min(found.wanted, MOST_BYTES),
        room=found.room,
        tokens=found.tokens,
        sequences=found.sequences,
        least_gpus=least if told(facts) else 0,
        arithmetic=tuple(arithmetic(facts, gpu, found, serving)),
        notes=(*notes(facts, gpu, split, least), *_idle(facts, split, serving)),
    )


def told(facts: Facts) -> bool:
    """Whether the files say enough: how big they are, of what layers, and what these cache."""
    caches = facts.kv_heads or facts.kv_lora_rank or not facts.cached_layers
    return bool(facts.weight_bytes and facts.layers and caches)


def load(facts: Facts, gpu: GpuProfile, split: Split, serving: Serving, engine: BuiltIn) -> Load:
    return Load(
        split,
        usable(gpu, serving, engine),
        weights(facts, split, serving),
        overhead(facts, gpu, split, engine),
        cache(facts, split, serving),
        serving.context or min(facts.context or USUAL_CONTEXT, USUAL_CONTEXT),
        serving.batch,
    )


def splits(facts: Facts, engine: BuiltIn) -> Iterator[Split]:
    """Ways to split a model, over ever more GPUs."""
    gpus = 1
    while gpus <= MOST_GPUS:
        yield split_over(facts, gpus, engine)
        gpus *= 2


def split_over(facts: Facts, gpus: int, engine: BuiltIn) -> Split:
    """Within a machine by heads, as far as they can be divided; the rest by layers."""
    if engine == LLAMACPP:
        return Split(1, _stages(facts, gpus))
    tensor = max(
        size for size in range(1, min(gpus, NODE) + 1) if gpus % size == 0 and divides(facts, size)
    )
    return Split(tensor, _stages(facts, gpus // tensor))


def _stages(facts: Facts, most: int) -> int:
    """Each has a layer at least."""
    return min(most, facts.layers or most)


def divides(facts: Facts, size: int) -> bool:
    """Whether attention can be split so many ways."""
    if facts.heads % size:
        return False
    heads = facts.kv_heads
    return bool(facts.kv_lora_rank or not heads or heads % size == 0 or size % heads == 0)


def chosen(facts: Facts, serving: Serving, engine: BuiltIn, usual: int) -> Split:
    """As asked for, as far as that was said."""
    tensor, pipeline = serving.tensor_parallel, serving.pipeline_parallel
    if engine == VLLM and (tensor or pipeline):
        tensor = tensor or max(serving.gpus // max(pipeline, 1), 1)
        return Split(tensor, pipeline or _stages(facts, max(serving.gpus // tensor, 1)))
    return split_over(facts, serving.gpus or usual, engine)


def notes(facts: Facts, gpu: GpuProfile, split: Split, least: int) -> Iterator[str]:
    if facts.broken:
        yield facts.broken
    if not told(facts):
        yield f"nothing can be said: the files do not tell {_untold(facts)}"
    elif not least:
        yield f"it fits on no number of these GPUs up to {MOST_GPUS}"
    if not divides(facts, split.tensor):
        yield f"{facts.heads} heads can not be split {split.tensor} ways: vLLM will refuse"
    if facts.quantization == "fp8" and gpu.dtypes and "fp8" not in gpu.dtypes:
        yield f"{gpu.name} does not compute with fp8: vLLM unpacks it, from capability 8.0 on"
    if facts.cached_layers < facts.layers:
        others = facts.layers - facts.cached_layers
        yield f"{others} layers keep a small state of fixed size, which is not counted"
    if facts.draft_bytes:
        yield f"without {gib(facts.draft_bytes)} of layers that predict ahead (MTP)"


def _idle(facts: Facts, split: Split, serving: Serving) -> Iterator[str]:
    if split.gpus < serving.gpus and split.pipeline == facts.layers:
        yield f"{serving.gpus} GPUs are more than {facts.layers} layers can be split over"


def _untold(facts: Facts) -> str:
    if not facts.weight_bytes:
        return "the size of the weights"
    return "how many attention heads there are" if facts.layers else "how many layers there are"


def arithmetic(facts: Facts, gpu: GpuProfile, found: Load, serving: Serving) -> Iterator[str]:
    """How the figures come about, one line each."""
    split, room = found.split, found.room
    yield (
        f"weights: {_stored(facts)} over {_over(split)} = {gib(found.weights)} on the fullest GPU"
    )
    yield _token(facts, split, serving, found.cache)
    if found.cache.sliding:
        yield (
            f"of these {found.cache.sliding:,} bytes in layers that keep no more than"
            f" {found.cache.window:,} tokens"
        )
    yield (
        f"KV cache wanted: {found.batch:,} x {found.context:,} tokens"
        f" x {found.cache.token:,} bytes = {gib(found.wanted)}"
        + (", less what slides" if found.cache.sliding else "")
    )
    yield f"engine: runtime, work space and buffers = {gib(found.overhead)}"
    share = found.usable / gpu.memory if gpu.memory else 0.0
    yield f"usable: {gib(gpu.memory)} x {share:.2f} = {gib(found.usable)}"
    yield (
        f"left for the KV cache: {gib(found.usable)} - {gib(found.weights)}"
        f" - {gib(found.overhead)} = {gib(room)}"
        f" = {found.tokens:,} tokens = {found.sequences:,} sequences of {found.context:,}"
    )


def _stored(facts: Facts) -> str:
    stored = facts.weight_bytes - facts.draft_bytes
    kind = facts.quantization or "/".join(list(facts.dtypes)[:3])
    return f"{stored:,} bytes{f' ({kind})' if kind else ''}"


def _over(split: Split) -> str:
    if split.gpus == 1:
        return "1 GPU"
    parts = [f"{split.tensor} by tensor"] * (split.tensor > 1)
    parts += [f"{split.pipeline} by layers"] * (split.pipeline > 1)
    return f"{split.gpus} GPUs ({' x '.join(parts)})"


def _token(facts: Facts, split: Split, serving: Serving, cache: Cache) -> str:
    numbers, of = cached_bytes(serving)
    width = f"{numbers / of:g} bytes"
    layers = -(-facts.cached_layers // split.pipeline)
    if facts.kv_lora_rank:
        each = f"({facts.kv_lora_rank} + {facts.rope_head_dim})"
    else:
        heads = -(-facts.kv_heads // split.tensor)
        each = f"{heads} KV heads x ({facts.head_dim} + {facts.value_dim or facts.head_dim})"
    return f"KV cache: {layers} layers x {each} x {width} = {cache.token:,} bytes a token"


def gib(count: int) -> str:
    return f"{count / GIB:.2f} GiB"
