"""Fit estimates of models that are known: their weights within 3 %, their KV cache to the byte."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from processors.advice.fit import fit
from processors.advice.gpus import find, shipped
from processors.advice.memory import GIB, Split, cache, weights
from processors.facts.reading import read_facts
from schemas.advice import GpuProfile, Serving, serving_of
from schemas.facts import Facts
from schemas.manifest import EngineArguments, Manifest, Resources, WeightsSource
from tests.processors.facts.headers import T, folder, gguf_header, write_model, write_sparse
from tests.processors.facts.models import (
    DEEPSEEK_R1,
    LLAMA_3_8B,
    LLAMA_3_70B_AWQ,
    MIXTRAL_8X7B,
    QWEN_VALUES,
    deepseek,
    llama,
    llama_awq,
    mixtral,
    qwen_q4_k_m,
)

ALONE = Split(1, 1)
USUAL = Serving()
MODELS: Mapping[str, tuple[Mapping[str, Any], Callable[[Mapping[str, Any]], Sequence[T]]]] = {
    "Llama-3-8B": (LLAMA_3_8B, llama),
    "Mixtral-8x7B": (MIXTRAL_8X7B, mixtral),
    "Llama-3-70B-AWQ": (LLAMA_3_70B_AWQ, llama_awq),
    "DeepSeek-R1": (DEEPSEEK_R1, deepseek),
}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Facts]:
    """Facts of every model, read from headers like its own."""
    found: dict[str, Facts] = {}
    for name, (config, describe) in MODELS.items():
        root = tmp_path_factory.mktemp(name)
        found[name] = read_facts(write_model(root, config, describe(config), shards=2))
    root = tmp_path_factory.mktemp("qwen")
    write_sparse(root / "qwen.gguf", *gguf_header(QWEN_VALUES, qwen_q4_k_m()))
    return found | {"Qwen2.5-7B-Q4_K_M": read_facts(folder(root))}


def gpu(name: str) -> GpuProfile:
    return find(shipped().gpus, name)


@pytest.mark.parametrize(
    ("model", "published"),
    [
        ("Llama-3-8B", 16_060_522_496),
        ("Mixtral-8x7B", 93_405_585_408),
        ("Llama-3-70B-AWQ", 39_767_785_472),
        ("DeepSeek-R1", 671_000_000_000),  # in fp8, a byte each; without the layer of 14 B ahead
        ("Qwen2.5-7B-Q4_K_M", 4_683_000_000),
    ],
)
def test_weights_take_what_is_published(
    known: Mapping[str, Facts], model: str, published: int
) -> None:
    assert abs(weights(known[model], ALONE, USUAL) - published) < 0.03 * published


@pytest.mark.parametrize(
    ("model", "token"),
    [
        ("Llama-3-8B", 32 * 2 * 8 * 128 * 2),
        ("Mixtral-8x7B", 32 * 2 * 8 * 128 * 2),
        ("Llama-3-70B-AWQ", 80 * 2 * 8 * 128 * 2),
        ("DeepSeek-R1", 61 * (512 + 64) * 2),
        ("Qwen2.5-7B-Q4_K_M", 28 * 2 * 4 * 128 * 2),
    ],
)
def test_the_kv_cache_is_exact(known: Mapping[str, Facts], model: str, token: int) -> None:
    found = cache(known[model], ALONE, USUAL)

    assert found.token == token
    assert found.bytes(32768) == 32768 * token


@pytest.mark.parametrize(
    ("dtype", "bytes"),
    [("auto", 2), ("float16", 2), ("fp8", 1), ("q8_0", 34 / 32), ("q4_0", 18 / 32)],
)
def test_the_kv_cache_is_as_wide_as_its_type(
    known: Mapping[str, Facts], dtype: Any, bytes: float
) -> None:
    found = cache(known["Llama-3-8B"], ALONE, Serving(kv_cache_dtype=dtype))

    assert found.token == 32 * 2 * 8 * 128 * bytes


def test_heads_are_split_over_gpus_and_copied_when_there_are_too_few(
    known: Mapping[str, Facts],
) -> None:
    facts = known["Llama-3-8B"]

    def token(tensor: int, pipeline: int) -> int:
        return cache(facts, Split(tensor, pipeline), USUAL).token

    assert token(2, 1) == token(1, 1) // 2
    assert token(8, 1) == token(1, 1) // 8
    assert token(16, 1) == token(8, 1)
    assert token(2, 4) == token(8, 1)


def test_latent_attention_is_copied_to_every_gpu(known: Mapping[str, Facts]) -> None:
    facts = known["DeepSeek-R1"]

    assert cache(facts, Split(8, 1), USUAL).token == cache(facts, ALONE, USUAL).token
    assert cache(facts, Split(8, 2), USUAL).token == 31 * 576 * 2


def test_layers_that_slide_keep_no_more_than_a_window() -> None:
    facts = Facts(
        layers=6, cached_layers=6, kv_heads=1, head_dim=128, value_dim=128, heads=8,
        sliding_layers=5, sliding_window=1024,
    )  # fmt: skip
    layer = 2 * 128 * 2

    found = cache(facts, ALONE, USUAL)

    assert found.bytes(1000) == 6 * layer * 1000
    assert found.bytes(8192) == layer * 8192 + 5 * layer * 1024


def test_weights_are_split_but_for_what_is_copied(known: Mapping[str, Facts]) -> None:
    facts = known["Llama-3-8B"]
    whole = facts.weight_bytes

    assert weights(facts, Split(8, 1), USUAL) == pytest.approx(whole / 8, rel=0.001)
    assert weights(facts, Split(1, 2), USUAL) == pytest.approx(whole / 2, rel=0.001)
    odd = weights(replace(facts, layers=31), Split(1, 2), USUAL)
    assert odd > whole / 2


def test_what_is_stored_wide_is_loaded_as_asked() -> None:
    facts = Facts(format="safetensors", dtypes={"F32": 1000}, weight_bytes=4000, layers=1)

    assert weights(facts, ALONE, USUAL) == 2000
    assert weights(facts, ALONE, Serving(dtype="float32")) == 4000
    assert weights(replace(facts, quantization="awq"), ALONE, USUAL) == 4000


@pytest.mark.parametrize(
    ("model", "card", "verdict", "least"),
    [
        ("Llama-3-8B", "h100", "fits", 1),
        ("Llama-3-8B", "l4", "fits", 1),
        ("Llama-3-8B", "t4", "fits", 2),
        ("Mixtral-8x7B", "h100", "fits", 2),
        ("Mixtral-8x7B", "mi300x", "fits", 1),
        ("Llama-3-70B-AWQ", "a100", "fits", 1),
        ("Llama-3-70B-AWQ", "l40s", "does-not-fit", 2),
        ("DeepSeek-R1", "h200", "fits", 8),
        ("DeepSeek-R1", "h100", "fits", 16),
        ("Qwen2.5-7B-Q4_K_M", "rtx-3060", "fits", 1),
    ],
)
def test_how_many_cards_it_takes(
    known: Mapping[str, Facts], model: str, card: str, verdict: str, least: int
) -> None:
    assert fit(known[model], gpu(card)).least_gpus == least
    assert fit(known[model], gpu(card)).gpus == least
    if verdict == "does-not-fit":
        assert fit(known[model], gpu(card), Serving(gpus=1)).verdict == verdict


def test_the_arithmetic_is_shown(known: Mapping[str, Facts]) -> None:
    found = fit(known["Llama-3-8B"], gpu("h100"), Serving(context=8192, batch=4))

    text = "\n".join(found.arithmetic)
    assert "weights: 16,060,522,496 bytes (BF16) over 1 GPU = 14.96 GiB" in text
    assert "32 layers x 8 KV heads x (128 + 128) x 2 bytes = 131,072 bytes a token" in text
    assert "4 x 8,192 tokens x 131,072 bytes = 4.00 GiB" in text
    assert found.kv_cache == 4 * GIB
    assert found.room == found.usable - found.weights - found.overhead
    assert found.tokens == found.room // 131_072
    assert found.sequences == found.tokens // 8192
    assert found.usable == int(0.9 * gpu("h100").memory)


def test_a_longer_context_may_be_too_much(known: Mapping[str, Facts]) -> None:
    facts = known["Llama-3-8B"]
    short, long = (fit(facts, gpu("l4"), Serving(gpus=1, context=c)) for c in (4096, 65536))

    assert (short.verdict, long.verdict) == ("fits", "does-not-fit")
    assert fit(facts, gpu("l4"), Serving(context=65536)).least_gpus == 2


def test_what_divides_no_heads_is_said(known: Mapping[str, Facts]) -> None:
    found = fit(known["Llama-3-8B"], gpu("h100"), Serving(gpus=3, tensor_parallel=3))

    assert "32 heads can not be split 3 ways: vLLM will refuse" in found.notes


def test_more_gpus_than_a_machine_has_are_stages(known: Mapping[str, Facts]) -> None:
    found = fit(known["DeepSeek-R1"], gpu("a100"), Serving(gpus=16))

    assert (found.tensor_parallel, found.pipeline_parallel) == (8, 2)


@pytest.mark.parametrize(
    ("model", "asked", "split"),
    [
        ("Llama-3-8B", Serving(gpus=64), (8, 2)),
        ("Llama-3-8B", Serving(gpus=64, tensor_parallel=4), (4, 2)),
        ("Qwen2.5-7B-Q4_K_M", Serving(gpus=8), (1, 2)),
    ],
)
def test_there_are_no_more_stages_than_layers(
    known: Mapping[str, Facts], model: str, asked: Serving, split: tuple[int, int]
) -> None:
    found = fit(replace(known[model], layers=2), gpu("h100"), asked)

    assert (found.tensor_parallel, found.pipeline_parallel) == split
    assert f"{asked.gpus} GPUs are more than 2 layers can be split over" in found.notes


def test_what_fits_on_no_number_of_cards_is_said(known: Mapping[str, Facts]) -> None:
    found = fit(known["DeepSeek-R1"], gpu("rtx-2080-ti"))

    assert found.verdict == "does-not-fit"
    assert found.least_gpus == 0
    assert "it fits on no number of these GPUs up to 64" in found.notes
    assert any("does not compute with fp8" in note for note in found.notes)


def test_of_nothing_nothing_is_known() -> None:
    found = fit(Facts(), gpu("h100"))

    assert (found.verdict, found.least_gpus, found.tokens) == ("unknown", 0, 0)
    assert found.notes


@pytest.mark.parametrize("gone", ["weight_bytes", "layers", "kv_heads"])
def test_what_the_files_do_not_tell_fits_nobody_knows_where(
    known: Mapping[str, Facts], gone: str
) -> None:
    found = fit(replace(known["Llama-3-8B"], **{gone: 0}), gpu("h100"))

    assert found.verdict == "unknown"
    assert found.notes[0].startswith("nothing can be said")


def asking(gpus: int, tensor: int = 1, pipeline: int = 1) -> Serving:
    engine = EngineArguments(tensor_parallel_size=tensor, pipeline_parallel_size=pipeline)
    return serving_of(
        Manifest("m", WeightsSource("org/m"), engine=engine, resources=Resources(gpus=gpus))
    )


def test_a_manifest_says_how_it_is_to_be_served() -> None:
    manifest = Manifest(
        id="m",
        weights=WeightsSource("org/m"),
        engine=EngineArguments(tensor_parallel_size=2, pipeline_parallel_size=2, max_model_len=99),
        resources=Resources(gpus=4),
    )

    asked = serving_of(manifest)

    assert (asked.gpus, asked.tensor_parallel, asked.pipeline_parallel) == (4, 2, 2)
    assert asked.context == 99


def test_a_manifest_that_asks_for_no_gpu_is_reckoned_on_as_few_as_will_do(
    known: Mapping[str, Facts],
) -> None:
    found = fit(known["Mixtral-8x7B"], gpu("h100"), asking(0))

    assert (found.verdict, found.gpus) == ("fits", 2)


def test_a_manifest_that_is_parallel_is_reckoned_so_whatever_gpus_it_asks_for(
    known: Mapping[str, Facts],
) -> None:
    for gpus in (0, 1, 4):
        found = fit(known["Llama-3-8B"], gpu("h100"), asking(gpus, tensor=2, pipeline=2))
        assert (found.tensor_parallel, found.pipeline_parallel) == (2, 2)


def test_gpus_that_vllm_is_not_told_to_use_hold_nothing(known: Mapping[str, Facts]) -> None:
    assert fit(known["Mixtral-8x7B"], gpu("h100"), asking(4)).verdict == "does-not-fit"


def test_llama_cpp_has_the_gpus_that_are_asked_for_and_no_more(known: Mapping[str, Facts]) -> None:
    facts = known["Qwen2.5-7B-Q4_K_M"]

    assert fit(facts, gpu("h100"), asking(1, tensor=2)).gpus == 1
    assert fit(facts, gpu("h100"), asking(3)).gpus == 3


def test_weights_are_reckoned_for_the_engine_that_is_named(known: Mapping[str, Facts]) -> None:
    card, facts = gpu("h100"), known["Qwen2.5-7B-Q4_K_M"]

    assert fit(facts, card, Serving(engine="vllm")).usable == int(0.9 * card.memory)
    assert fit(facts, card).usable == int(0.95 * card.memory)
