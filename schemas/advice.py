"""Advice on serving: which cards there are, what fits on them, and how to tell an engine so."""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, TypeAlias

from msgspec import Meta

from schemas.engine import LLAMACPP, VLLM, BuiltIn, suited
from schemas.facts import Facts
from schemas.manifest import Dtype, KvCacheDtype, Manifest
from schemas.message import Value
from schemas.weights import Holding

Segment: TypeAlias = Literal["data-center", "workstation", "consumer", "unknown"]
Verdict: TypeAlias = Literal["fits", "tight", "does-not-fit", "unknown"]
Kind: TypeAlias = Literal[
    "text-generation",
    "multimodal",
    "embedding",
    "cross-encoder",
    "transcription",
    "speculative",
    "transformers",
]
Count = Annotated[int, Meta(ge=0, le=1024)]


class GpuProfile(Value):
    """A kind of card: `memory` in bytes, `bandwidth` in bytes a second, 0 when not known.

    `capability` is NVIDIA's compute capability (`9.0`) or AMD's target (`gfx942`). `dtypes` are
    those it computes with in hardware. `aliases` are what nodes call it, `nodes` those that do.
    """

    type: str
    name: str
    vendor: str
    memory: int
    segment: Segment = "unknown"
    bandwidth: int = 0
    capability: str = ""
    dtypes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


class Serving(Value):
    """How a model is to be served. 0 and `auto` leave it to us: as few GPUs as will do, a context
    as long as is usual. `batch` sequences of `context` tokens are under way at once. `engine` is
    the one for such weights, unless said."""

    gpus: Count = 0
    tensor_parallel: Count = 0
    pipeline_parallel: Count = 0
    context: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    batch: Annotated[int, Meta(ge=1, le=100_000)] = 1
    dtype: Dtype = "auto"
    kv_cache_dtype: KvCacheDtype = "auto"
    gpu_memory_utilization: Annotated[float, Meta(ge=0, le=1)] = 0.0
    engine: BuiltIn | None = None


def engine_of(manifest: Manifest, facts: Facts, runtime: str) -> BuiltIn:
    """The engine that serves it on such a runtime; of an operator's own, the one most like it."""
    if manifest.runtime == LLAMACPP:
        return LLAMACPP
    if manifest.runtime == VLLM or runtime == "kserve":
        return VLLM
    return suited(gguf=bool(facts.gguf_files))


def facts_for(manifest: Manifest, holding: Holding, runtime: str) -> Facts | None:
    """What those files say that the engine is pointed at; None where nobody knows.

    Raises `Rejected` with `weights_file_missing`.
    """
    file, facts = manifest.weights.file, holding.facts
    if facts and facts.gguf_files and engine_of(manifest, facts, runtime) == LLAMACPP:
        file = file or facts.gguf_files[0]
    return holding.facts_of(file)


def serving_of(manifest: Manifest, engine: BuiltIn | None = None) -> Serving:
    """How a manifest asks for its model to be served.

    One that asks for no GPU, and is parallel over none, leaves to us over how many it is split.
    """
    told, gpus = manifest.engine, manifest.resources.gpus
    tensor, pipeline = told.tensor_parallel_size, told.pipeline_parallel_size
    split = gpus > 0 or tensor * pipeline > 1
    return Serving(
        gpus=gpus,
        tensor_parallel=tensor if split else 0,
        pipeline_parallel=pipeline if split else 0,
        context=told.max_model_len or 0,
        dtype=told.dtype,
        kv_cache_dtype=told.kv_cache_dtype,
        gpu_memory_utilization=told.gpu_memory_utilization or 0.0,
        engine=engine,
    )


class Fit(Value):
    """Whether it fits, and how that was reckoned. Bytes are those of one GPU, the fullest.

    `room` is what weights and overhead leave for keys and values: `tokens` of them, `sequences` of
    `context` tokens each, over all GPUs. `least_gpus` is how many GPUs would do; 0 if too many.
    """

    verdict: Verdict
    gpus: int
    tensor_parallel: int
    pipeline_parallel: int
    context: int
    batch: int
    memory: int
    usable: int
    weights: int
    overhead: int
    kv_token: int
    kv_cache: int
    room: int
    tokens: int
    sequences: int
    least_gpus: int
    arithmetic: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Flag(Value):
    """An option of an engine, and why. `field` is its name in a manifest's `engine`, if it has
    one there."""

    name: str
    value: str
    reason: str
    field: str = ""


class Architecture(Value):
    """A model architecture that vLLM knows. `removed_in` is the version that knows it no more."""

    name: str
    kind: Kind
    models: str = ""
    examples: tuple[str, ...] = ()
    lora: bool = False
    pipeline_parallel: bool = False
    removed_in: str = ""


class Registry(Value):
    """Every architecture that was known on the day `as_of`, by name. `source` says to whom."""

    as_of: str
    source: str
    architectures: tuple[Architecture, ...]


class Support(Value):
    """Whether the engine knows the architecture; `known` is None when nobody can say. `remedy` says
    what to do unless it does."""

    engine: str
    architecture: str
    known: bool | None
    reason: str
    remedy: str = ""


class Compatibility(Value):
    """A model on a kind of card: does the engine know it, does it fit, and what to tell it."""

    gpu: GpuProfile
    support: Support
    fit: Fit
    flags: tuple[Flag, ...] = ()


class Largest(Value):
    """About how many parameters, stored like this, one card holds beside what serving takes."""

    stored: str
    parameters: int


class Recommendation(Value):
    """What holds for a kind of card, whatever the model; `model` is None when none was named."""

    gpu: GpuProfile
    largest: tuple[Largest, ...]
    flags: tuple[Flag, ...]
    model: Compatibility | None = None


class ModelInfo(Value):
    """What the files of a repository on the Hub say, at the commit that `revision` means."""

    repo: str
    revision: str
    commit: str
    license: str
    facts: Facts
    support: Support


class Advisor(Protocol):
    """A `gpu_type` is a profile's type, name or alias, in any case."""

    async def profiles(self) -> Sequence[GpuProfile]:
        """Every kind of card we know of, those of our own nodes first."""
        ...

    async def recommend(self, gpu_type: str, facts: Facts | None = None) -> Recommendation:
        """Raises `Rejected` with `not_found`."""
        ...

    async def compatibility(
        self, facts: Facts, gpu_type: str, serving: Serving | None = None
    ) -> Compatibility:
        """Raises `Rejected` with `not_found`."""
        ...

    async def supported_models(self) -> Registry: ...

    async def architecture(self, name: str) -> Architecture:
        """Raises `Rejected` with `not_found`."""
        ...

    async def model_info(
        self, repo: str, revision: str, token: str = "", file: str = ""
    ) -> ModelInfo:
        """Read the headers of a repository's files, and no more, within 20 s. `file` picks one of
        several GGUF models.

        Raises `Rejected`: `not_found`, `gated`, `hub_unreachable`, `weights_file_missing`.
        """
        ...
