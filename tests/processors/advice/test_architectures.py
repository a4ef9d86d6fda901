"""Registries of architectures: the shipped ones, and vLLM's own text."""

import re
from pathlib import Path

import pytest

from processors.advice import architectures
from processors.advice.architectures import NoRegistry, keep, newest, parsed, shipped, support
from processors.advice.memory import engine_of
from processors.advice.refreshing import fetched
from schemas.advice import Serving
from schemas.facts import Facts

REGISTRY = '''
"""Some words."""
import torch
from os import system

system("touch /tmp/never")
_TEXT_GENERATION_MODELS = {
    # [Decoder-only]
    "LlamaForCausalLM": ("llama", "LlamaForCausalLM"),
    "BrandNewForCausalLM": ("brand_new", "BrandNewForCausalLM"),
}
_EMBEDDING_MODELS = {
    "BertModel": ("bert", "BertEmbeddingModel"),
    **{k: v for k, v in _TEXT_GENERATION_MODELS.items()},
    "LlamaForCausalLM": ("llama", "LlamaForCausalLM"),
}
_MULTIMODAL_MODELS: dict[str, tuple[str, str]] = {
    "LlavaForConditionalGeneration": ("llava", "LlavaForConditionalGeneration"),
}
_VLLM_MODELS = {**_TEXT_GENERATION_MODELS, **_EMBEDDING_MODELS}
_PREVIOUSLY_SUPPORTED_MODELS = {"MotifForCausalLM": "0.10.2"}
_OTHERS = {"NotAModel": 1}
'''


def test_the_shipped_registry_is_dated_sorted_and_whole() -> None:
    registry = shipped()
    names = [one.name for one in registry.architectures]

    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", registry.as_of)
    assert names == sorted(set(names))
    assert len(names) > 250
    for name in ("LlamaForCausalLM", "MixtralForCausalLM", "DeepseekV3ForCausalLM", "BertModel"):
        assert name in names
    kinds = {one.kind for one in registry.architectures}
    assert {"text-generation", "multimodal", "embedding"} <= kinds


def test_the_text_of_a_registry_is_read_and_never_run(tmp_path: Path) -> None:
    registry = parsed(REGISTRY, "a test", "2027-01-01")

    found = {one.name: one for one in registry.architectures}
    assert {name: one.kind for name, one in found.items()} == {
        "BertModel": "embedding",
        "BrandNewForCausalLM": "text-generation",
        "LlamaForCausalLM": "text-generation",
        "LlavaForConditionalGeneration": "multimodal",
        "MotifForCausalLM": "text-generation",
    }
    assert found["LlamaForCausalLM"].models == "Llama 3.1, Llama 3, Llama 2, LLaMA, Yi"
    assert found["MotifForCausalLM"].removed_in == "0.10.2"
    assert not Path("/tmp/never").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "def (",
        "_TEXT_GENERATION_MODELS = 3",
        "<html>",
        "\0",
        "(" * 5000,
        "[" * 100_000,
    ],
)
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(NoRegistry):
        parsed(text, "a test", "2027-01-01")


def test_a_refreshed_registry_serves_if_it_is_newer(tmp_path: Path) -> None:
    assert newest(tmp_path) == shipped()

    keep(tmp_path / "data", parsed(REGISTRY, "a test", "2000-01-01"))
    assert newest(tmp_path / "data") == shipped()

    path = keep(tmp_path / "data", parsed(REGISTRY, "a test", "2999-01-01"))
    assert newest(tmp_path / "data").source == "a test"
    assert [path.name] == [one.name for one in path.parent.iterdir()]


def test_a_damaged_registry_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / architectures.FILE).write_text('{"asOf": 3}')

    assert newest(tmp_path) == shipped()


def test_a_registry_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "registry.py"
    path.write_text(REGISTRY)

    assert fetched(str(path)).text == REGISTRY


@pytest.mark.parametrize("place", ["/no/such/file", "ftp://host/x", "file:///etc/hosts"])
def test_a_registry_comes_from_nowhere_else(place: str) -> None:
    with pytest.raises(NoRegistry):
        fetched(place)


def test_an_address_that_does_not_answer_is_said() -> None:
    with pytest.raises(NoRegistry, match=r"127\.0\.0\.1 does not answer"):
        fetched("http://127.0.0.1:9/registry.py")


@pytest.mark.parametrize(
    ("facts", "engine", "known"),
    [
        (Facts("safetensors", "LlamaForCausalLM"), "vllm", True),
        (Facts("safetensors", "NobodyForCausalLM"), "vllm", None),
        (Facts("safetensors", "MllamaForConditionalGeneration"), "vllm", False),
        (Facts("safetensors"), "vllm", None),
        (Facts("gguf", "qwen2"), "llamacpp", True),
        (Facts("gguf", "nobody"), "llamacpp", None),
    ],
)
def test_support_is_by_the_engine_that_would_serve(
    facts: Facts, engine: str, known: bool | None
) -> None:
    found = support(facts, engine_of(facts, Serving()), shipped())

    assert (found.engine, found.known) == (engine, known)
    assert found.reason
    assert bool(found.remedy) == (not known)
