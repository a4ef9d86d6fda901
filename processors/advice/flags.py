"""What to tell an engine, and why. Nothing that runs code from a repository is ever recommended."""

from collections.abc import Iterator
from typing import NamedTuple

from processors.advice.fit import fit, gib
from processors.advice.memory import GIB, SAMPLED, UTILIZATION, engine_of
from schemas.advice import Fit, Flag, GpuProfile, Largest, Serving
from schemas.engine import LLAMACPP, VLLM, BuiltIn
from schemas.facts import Facts

STEP = 256
"""Lengths are rounded down to a multiple of this."""

FIXED = 3 * GIB
CACHE_SHARE = 0.15
STORED = {"bfloat16": 2.0, "fp8": 1.0, "int4": 4.5 / 8}
"""Bytes of a parameter; four bits come with the scale of their group."""


class Case(NamedTuple):
    """A model on a kind of card, served somehow."""

    facts: Facts
    gpu: GpuProfile
    serving: Serving
    fit: Fit
    engine: BuiltIn


def flags(facts: Facts, gpu: GpuProfile, serving: Serving, found: Fit) -> tuple[Flag, ...]:
    """What to tell the engine that would serve the model."""
    case = Case(facts, gpu, serving, found, engine_of(facts, serving))
    if found.verdict == "unknown":
        return tuple(_numbers(case)) if case.engine == VLLM else ()
    return tuple(_llama(case) if case.engine == LLAMACPP else _vllm(case))


def _vllm(case: Case) -> Iterator[Flag]:
    yield from _parallel(case)
    yield from _length(case)
    yield from _numbers(case)
    yield from _cache(case)
    yield from _smaller(case)
    yield utilization(0.95 if case.fit.verdict == "tight" else 0.0)
    sequences = case.fit.sequences
    if 0 < sequences < SAMPLED:
        why = f"{sequences} sequences of {case.fit.context:,} tokens fit; more would wait anyway"
        yield Flag("--max-num-seqs", str(sequences), why, "maxNumSeqs")


def _parallel(case: Case) -> Iterator[Flag]:
    found, heads = case.fit, case.facts.heads
    if found.tensor_parallel > 1:
        why = (
            f"each of {found.tensor_parallel} GPUs holds {gib(found.weights)} of weights;"
            f" they divide the {heads} attention heads"
        )
        yield Flag("--tensor-parallel-size", str(found.tensor_parallel), why, "tensorParallelSize")
    if found.pipeline_parallel > 1:
        why = "beyond one machine, or what the heads divide into, layers are split into stages"
        yield Flag(
            "--pipeline-parallel-size",
            str(found.pipeline_parallel),
            why,
            "pipelineParallelSize",
        )


def _length(case: Case) -> Iterator[Flag]:
    known, tokens = case.facts.context, case.fit.tokens
    if case.serving.context:
        why = "as long as was asked for: the KV cache is planned for no more"
        yield Flag("--max-model-len", str(case.serving.context), why, "maxModelLen")
    elif known > tokens >= STEP:
        room = tokens // STEP * STEP
        why = f"the model can do {known:,} tokens; there is room for {tokens:,}"
        yield Flag("--max-model-len", str(room), why, "maxModelLen")


def _numbers(case: Case) -> Iterator[Flag]:
    if case.gpu.dtypes and "bfloat16" not in case.gpu.dtypes and "BF16" in case.facts.dtypes:
        why = f"{case.gpu.name} does not compute with bfloat16, in which the weights are stored"
        yield Flag("--dtype", "float16", why, "dtype")


def _cache(case: Case) -> Iterator[Flag]:
    short = case.fit.verdict != "fits" or case.fit.sequences < 8
    asked = case.serving.kv_cache_dtype
    if asked != "auto":
        yield Flag("--kv-cache-dtype", asked, "as was asked for", "kvCacheDtype")
    elif short and "fp8" in case.gpu.dtypes and not case.facts.kv_lora_rank and case.fit.kv_token:
        why = "twice as many tokens fit, at little cost in quality"
        yield Flag("--kv-cache-dtype", "fp8", why, "kvCacheDtype")


def _smaller(case: Case) -> Iterator[Flag]:
    """What could be done about weights that are too big."""
    big = case.fit.verdict == "does-not-fit" and not case.facts.quantization
    if big and "fp8" in case.gpu.dtypes and case.facts.format == "safetensors":
        why = (
            f"it does not fit as it is; at load, fp8 halves the {gib(case.fit.weights)} of weights"
        )
        yield Flag("--quantization", "fp8", why, "quantization")


def utilization(share: float = 0.0) -> Flag:
    if share:
        why = "it is tight: as much of the card as can be, if nothing else runs on it"
    else:
        share = UTILIZATION[VLLM]
        why = "vLLM's own default; less, if something else runs on the card"
    return Flag("--gpu-memory-utilization", f"{share:.2f}", why, "gpuMemoryUtilization")


def _llama(case: Case) -> Iterator[Flag]:
    layers = case.facts.layers
    held = offloaded(case)
    if held > layers:
        why = f"all {layers} layers and the output fit on the GPU"
        yield Flag("--n-gpu-layers", str(held), why, "gpuLayers")
        why = "with all layers on the GPU, more threads only wait"
        yield Flag("--threads", "4", why, "threads")
    else:
        why = f"{held} of {layers} layers fit on the GPU; the others are computed by the CPU"
        yield Flag("--n-gpu-layers", str(held), why, "gpuLayers")
        why = "the layers beside the GPU are the CPU's: as many threads as it has cores (-1)"
        yield Flag("--threads", "-1", why)
    context = case.fit.context
    why = f"{case.fit.batch} sequences of {context:,} tokens share it"
    yield Flag("--ctx-size", str(context * case.fit.batch), why, "maxModelLen")
    if case.fit.verdict != "fits" and case.serving.kv_cache_dtype == "auto":
        why = "nearly twice as many tokens fit, at next to no cost in quality"
        yield Flag("--cache-type-k", "q8_0", why, "kvCacheDtype")
        yield Flag("--cache-type-v", "q8_0", why, "kvCacheDtype")


def offloaded(case: Case) -> int:
    """How many layers the GPU holds; one more than there are stands for the output."""
    layers, found = case.facts.layers, case.fit
    if found.verdict != "does-not-fit" or not layers:
        return layers + 1
    room = max(found.usable - found.overhead, 0)
    whole = found.weights + found.kv_cache
    return min(room * layers // whole, layers) if whole else layers


def general(gpu: GpuProfile) -> tuple[Flag, ...]:
    """What holds for a kind of card, whatever the model."""
    return tuple(_general(gpu))


def _general(gpu: GpuProfile) -> Iterator[Flag]:
    if gpu.dtypes and "bfloat16" not in gpu.dtypes:
        why = f"{gpu.name} does not compute with bfloat16"
        yield Flag("--dtype", "float16", why, "dtype")
    if "fp8" in gpu.dtypes:
        why = "computes with fp8: weights stored so take half the room, and are faster"
        yield Flag("--quantization", "fp8", why, "quantization")
        why = "twice as many tokens fit, at little cost in quality; for long contexts"
        yield Flag("--kv-cache-dtype", "fp8", why, "kvCacheDtype")
    yield utilization()


def largest(gpu: GpuProfile) -> tuple[Largest, ...]:
    """About how many parameters one card holds, with some room for keys and values."""
    share = (gpu.memory * UTILIZATION[VLLM] - FIXED) * (1 - CACHE_SHARE)
    return tuple(
        Largest("float16" if stored == "bfloat16" and not _has(gpu, stored) else stored, count)
        for stored, width in STORED.items()
        if (count := max(int(share / width), 0))
        and (stored in ("int4", "bfloat16") or _has(gpu, stored))
    )


def _has(gpu: GpuProfile, dtype: str) -> bool:
    return not gpu.dtypes or dtype in gpu.dtypes


def advised(facts: Facts, gpu: GpuProfile, serving: Serving | None) -> tuple[Fit, tuple[Flag, ...]]:
    """How it fits, and what to tell the engine."""
    asked = serving or Serving()
    found = fit(facts, gpu, asked)
    return found, flags(facts, gpu, asked, found)
