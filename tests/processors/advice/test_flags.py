"""What engines are told, and that there is a reason."""

from collections.abc import Mapping

import pytest
from msgspec.structs import fields

from processors.advice.flags import advised, general, largest
from processors.advice.gpus import find, shipped
from schemas.advice import Flag, GpuProfile, Serving
from schemas.facts import Facts
from schemas.manifest import EngineArguments

GB = 10**9
DENSE = Facts(
    format="safetensors", architecture="LlamaForCausalLM", dtypes={"BF16": 40 * GB},
    weight_bytes=80 * GB, parameters=40 * GB, layers=64, hidden_size=5120, heads=40, kv_heads=8,
    head_dim=128, value_dim=128, cached_layers=64, context=131072, vocabulary=152064,
    embedding_bytes=3 * GB,
)  # fmt: skip
SMALL = Facts(
    format="gguf", architecture="llama", dtypes={"Q4_K": 8 * GB}, weight_bytes=5 * GB,
    quantization="Q4_K_M", parameters=8 * GB, layers=32, hidden_size=4096, heads=32, kv_heads=8,
    head_dim=128, value_dim=128, cached_layers=32, context=8192, vocabulary=128256,
)  # fmt: skip


def gpu(name: str) -> GpuProfile:
    return find(shipped().gpus, name)


def told(facts: Facts, card: str, serving: Serving | None = None) -> Mapping[str, Flag]:
    _, flags = advised(facts, gpu(card), serving)
    return {flag.name: flag for flag in flags}


def test_what_needs_two_cards_is_split_by_tensor() -> None:
    flag = told(DENSE, "a100")["--tensor-parallel-size"]

    assert (flag.value, flag.field) == ("2", "tensorParallelSize")
    assert "40 attention heads" in flag.reason


def test_a_context_that_there_is_no_room_for_is_shortened() -> None:
    flag = told(DENSE, "rtx-pro-6000", Serving(gpus=1))["--max-model-len"]

    assert 8192 < int(flag.value) < 131072
    assert int(flag.value) % 256 == 0
    assert "131,072" in flag.reason


def test_a_card_without_bfloat16_is_given_float16() -> None:
    assert told(DENSE, "v100")["--dtype"].value == "float16"
    assert "--dtype" not in told(DENSE, "h100")


def test_where_memory_is_short_the_cache_is_halved_if_the_card_can() -> None:
    assert told(DENSE, "h200", Serving(gpus=1, context=65536))["--kv-cache-dtype"].value == "fp8"
    assert "--kv-cache-dtype" not in told(DENSE, "a100", Serving(gpus=2, context=131072))


def test_weights_that_do_not_fit_may_be_loaded_in_fp8() -> None:
    assert told(DENSE, "h100", Serving(gpus=1))["--quantization"].value == "fp8"
    assert "--quantization" not in told(DENSE, "a100", Serving(gpus=1))
    assert "--quantization" not in told(DENSE, "h100", Serving(gpus=2))


def test_nothing_ever_lets_a_repository_run_code() -> None:
    for card in shipped().gpus:
        for facts in (DENSE, SMALL, Facts()):
            _, flags = advised(facts, card, None)
            for flag in (*flags, *general(card)):
                assert "trust" not in flag.name
                assert flag.reason


def test_llama_cpp_gets_all_layers_or_as_many_as_fit() -> None:
    whole, part = told(SMALL, "rtx-4090"), told(SMALL, "rtx-4090", Serving(context=1_000_000))

    assert whole["--n-gpu-layers"].value == "33"
    assert whole["--ctx-size"].value == "8192"
    assert whole["--threads"].value == "4"
    assert 0 < int(part["--n-gpu-layers"].value) < 32 or part["--n-gpu-layers"].value == "33"


def test_llama_cpp_shares_layers_with_the_cpu_when_the_card_is_too_small() -> None:
    tiny = GpuProfile("tiny", "Tiny", "nvidia", 4 << 30)

    found, flags = advised(SMALL, tiny, Serving(gpus=1))
    by_name = {flag.name: flag for flag in flags}

    assert found.verdict == "does-not-fit"
    assert 0 < int(by_name["--n-gpu-layers"].value) < 32
    assert by_name["--threads"].value == "-1"
    assert by_name["--cache-type-k"].value == "q8_0"


@pytest.mark.parametrize("facts", [DENSE, SMALL])
def test_fields_are_those_of_a_manifest(facts: Facts) -> None:
    known = {field.encode_name for field in fields(EngineArguments)}

    for card in shipped().gpus:
        for serving in (None, Serving(gpus=1), Serving(gpus=16, context=4096)):
            _, flags = advised(facts, card, serving)
            assert {flag.field for flag in (*flags, *general(card)) if flag.field} <= known


def test_what_a_card_holds_depends_on_how_it_is_stored() -> None:
    sizes = {one.stored: one.parameters / GB for one in largest(gpu("h100"))}

    assert 28 < sizes["bfloat16"] < 36
    assert sizes["fp8"] == pytest.approx(2 * sizes["bfloat16"])
    assert sizes["int4"] > 110
    assert {one.stored for one in largest(gpu("t4"))} == {"float16", "int4"}
