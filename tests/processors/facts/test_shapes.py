"""What the usual configurations, quantisations and layouts of files say."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from processors.facts.config import understood
from processors.facts.fields import Fields
from processors.facts.reading import read_facts
from schemas.facts import Facts
from tests.processors.facts.headers import (
    G,
    T,
    folder,
    gguf_header,
    safetensors_header,
    write_model,
    write_sparse,
)
from tests.processors.facts.models import QWEN_VALUES

BASE: Mapping[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}


def shape(**config: Any) -> Facts:
    return understood(Fields({**BASE, **config})).facts


def test_the_text_part_of_a_multimodal_model_is_what_counts() -> None:
    nested = {"text_config": {**BASE, "vocab_size": 100}}
    whole = {"architectures": ["Gemma3ForConditionalGeneration"], **nested, "vocab_size": 7}
    deeper = {"thinker_config": nested}

    assert understood(Fields(whole)).facts.layers == 8
    assert understood(Fields(whole)).facts.vocabulary == 100
    assert understood(Fields(whole)).facts.architecture == "Gemma3ForConditionalGeneration"
    assert understood(Fields(deeper)).facts.kv_heads == 2


def test_a_vision_part_alone_changes_nothing() -> None:
    assert shape(text_config={"vocab_size": 3}).layers == 8


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (8, 0, 0)),
        ({"sliding_window": 4096}, (8, 8, 4096)),
        ({"sliding_window": None}, (8, 0, 0)),
        ({"sliding_window": 4096, "use_sliding_window": False}, (8, 0, 0)),
        (
            {"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 6},
            (8, 2, 4096),
        ),
        ({"sliding_window": 512, "sliding_window_pattern": 4}, (8, 6, 512)),
        ({"sliding_window": 4096, "model_type": "gemma2"}, (8, 4, 4096)),
        (
            {
                "sliding_window": 128,
                "layer_types": ["sliding_attention", "full_attention"] * 4,
            },
            (8, 4, 128),
        ),
        ({"layer_types": ["linear_attention"] * 6 + ["full_attention"] * 2}, (2, 0, 0)),
        ({"full_attention_interval": 4}, (2, 0, 0)),
        ({"hybrid_override_pattern": "M-M*-M-*"}, (2, 0, 0)),
        ({"linear_attn_config": {"full_attn_layers": [4, 8]}}, (2, 0, 0)),
        ({"attn_type_list": [0, 0, 0, 1, 0, 0, 0, 1]}, (2, 0, 0)),
        (
            {
                "sliding_window": 512,
                "num_kv_shared_layers": 4,
                "layer_types": ["sliding_attention", "full_attention"] * 4,
            },
            (4, 2, 512),
        ),
    ],
)
def test_layers_that_see_less_or_keep_nothing_are_told_apart(
    config: Mapping[str, Any], expected: tuple[int, int, int]
) -> None:
    facts = shape(**config)

    assert (facts.cached_layers, facts.sliding_layers, facts.sliding_window) == expected


@pytest.mark.parametrize(
    ("config", "heads", "dims"),
    [
        ({}, 2, (8, 8)),
        ({"head_dim": 128}, 2, (128, 128)),
        ({"head_dim": None, "kv_channels": 16}, 2, (16, 16)),
        ({"num_key_value_heads": None}, 8, (8, 8)),
        ({"num_key_value_heads": None, "multi_query": True}, 1, (8, 8)),
        ({"num_key_value_heads": None, "attn_config": {"kv_n_heads": 4}}, 4, (8, 8)),
        ({"num_key_value_heads": None, "multi_query_group_num": 2}, 2, (8, 8)),
        ({"head_dim": 192, "v_head_dim": 128}, 2, (192, 128)),
        (
            {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 9},
            2,
            (192, 9),
        ),
    ],
)
def test_heads_are_found_by_all_their_names(
    config: Mapping[str, Any], heads: int, dims: tuple[int, int]
) -> None:
    facts = shape(**config)

    assert (facts.kv_heads, (facts.head_dim, facts.value_dim)) == (heads, dims)


@pytest.mark.parametrize(
    "config",
    [
        {"num_local_experts": 16, "num_experts_per_tok": 2},
        {"n_routed_experts": 16, "num_experts_per_tok": 2},
        {"num_experts": 16, "moe_topk": [2, 2, 2]},
        {"moe_num_experts": 16, "moe_k": 2},
        {"ffn_config": {"moe_num_experts": 16, "moe_top_k": 2}},
    ],
)
def test_experts_are_found_by_all_their_names(config: Mapping[str, Any]) -> None:
    facts = shape(**config)

    assert (facts.experts, facts.experts_per_token) == (16, 2)


def counted(root: Path, tensors: Sequence[T], **quantization: Any) -> Facts:
    config = {**BASE, "quantization_config": quantization} if quantization else BASE
    return read_facts(write_model(root, config, tensors))


GROUPS = {"group_0": {"weights": {"num_bits": 4, "type": "int"}, "targets": ["Linear"]}}


@pytest.mark.parametrize(
    ("tensors", "quantization"),
    [
        (
            [
                T("q.qweight", "I32", (8, 64)),
                T("q.qzeros", "I32", (1, 8)),
                T("q.scales", "F16", (1, 64)),
                T("q.g_idx", "I32", (64,)),
            ],
            {"quant_method": "gptq", "bits": 4},
        ),
        (
            [T("q.qweight", "I32", (16, 64)), T("q.scales", "F16", (1, 64))],
            {"quant_method": "gptq", "bits": 8},
        ),
        (
            [T("q.qweight", "I32", (6, 64)), T("q.scales", "F16", (1, 64))],
            {"quant_method": "gptq", "bits": 3},
        ),
        (
            [
                T("q.weight", "U8", (2048, 1)),
                T("q.weight.absmax", "U8", (64,)),
                T("q.weight.quant_map", "F32", (16,)),
                T("q.weight.nested_absmax", "F32", (1,)),
                T("q.weight.quant_state.bitsandbytes__nf4", "U8", (80,)),
            ],
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
        ),
        (
            [T("q.weight", "I8", (64, 64)), T("q.SCB", "F32", (64,))],
            {"quant_method": "bitsandbytes", "load_in_8bit": True},
        ),
        (
            [
                T("q.weight_packed", "I32", (64, 8)),
                T("q.weight_scale", "BF16", (64, 1)),
                T("q.weight_shape", "I64", (2,)),
            ],
            {
                "quant_method": "compressed-tensors",
                "format": "pack-quantized",
                "config_groups": GROUPS,
            },
        ),
        (
            [
                T("q.weight_packed", "U8", (64, 32)),
                T("q.weight_scale", "F8_E4M3", (64, 4)),
                T("q.weight_global_scale", "F32", (1,)),
            ],
            {
                "quant_method": "compressed-tensors",
                "format": "nvfp4-pack-quantized",
                "config_groups": GROUPS,
            },
        ),
        (
            [
                T("q.weight", "U8", (64, 32)),
                T("q.weight_scale", "F8_E4M3", (64, 4)),
                T("q.weight_scale_2", "F32", ()),
                T("q.input_scale", "F32", ()),
            ],
            {"quant_method": "modelopt", "quant_algo": "NVFP4"},
        ),
        (
            [
                T("experts.gate_up_proj_blocks", "U8", (2, 16, 4, 16)),
                T("experts.gate_up_proj_scales", "U8", (2, 16, 4)),
            ],
            {"quant_method": "mxfp4"},
        ),
        (
            [T("q.weight", "F8_E4M3", (64, 64)), T("q.weight_scale", "F32", (1,))],
            {"quant_method": "fp8"},
        ),
    ],
    ids=lambda value: (
        value.get("format") or value["quant_method"] if "quant_method" in value else ""
    ),
)
def test_packed_weights_are_counted_unpacked(
    tmp_path: Path, tensors: Sequence[T], quantization: Mapping[str, Any]
) -> None:
    facts = counted(tmp_path, tensors, **quantization)

    assert facts.parameters == 64 * 64
    assert facts.weight_bytes == sum(tensor.bytes for tensor in tensors)
    assert facts.quantization == quantization["quant_method"]


def test_integers_of_a_model_that_is_not_quantised_are_what_they_are(tmp_path: Path) -> None:
    facts = counted(tmp_path, [T("a.scales", "F16", (8,)), T("position_ids", "I64", (8,))])

    assert facts.parameters == 16


def test_routers_norms_and_narrow_projections_are_known_to_be_copied(tmp_path: Path) -> None:
    tensors = [
        T("model.layers.0.mlp.gate.weight", "BF16", (8, 64)),
        T("model.layers.0.input_layernorm.weight", "BF16", (64,)),
        T("model.layers.0.self_attn.kv_a_proj_with_mqa.weight", "BF16", (9, 64)),
        T("model.layers.0.mlp.gate_proj.weight", "BF16", (128, 64)),
    ]

    assert counted(tmp_path, tensors).replicated_bytes == 2 * (8 * 64 + 64 + 9 * 64)


def test_what_a_configuration_leaves_to_defaults_is_read_from_shapes(tmp_path: Path) -> None:
    config = {"text_config": {"hidden_size": 2560, "num_hidden_layers": 2}}
    prefix = "language_model.model"
    tensors = [
        T("vision_tower.encoder.layers.0.self_attn.q_proj.weight", "BF16", (7, 7)),
        T(f"{prefix}.embed_tokens.weight", "BF16", (262208, 2560)),
        T(f"{prefix}.layers.0.self_attn.q_norm.weight", "BF16", (256,)),
        T(f"{prefix}.layers.0.self_attn.q_proj.weight", "BF16", (2048, 2560)),
        T(f"{prefix}.layers.0.self_attn.k_proj.weight", "BF16", (1024, 2560)),
    ]

    facts = read_facts(write_model(tmp_path, config, tensors))

    assert (facts.heads, facts.kv_heads, facts.head_dim, facts.value_dim) == (8, 4, 256, 256)
    assert facts.vocabulary == 262208
    assert facts.cached_layers == 2


def test_shared_experts_are_always_active(tmp_path: Path) -> None:
    tensors = [
        T("model.layers.0.mlp.shared_experts.up_proj.weight", "BF16", (10, 10)),
        *(T(f"model.layers.0.mlp.experts.{n}.up_proj.weight", "BF16", (10, 10)) for n in range(4)),
    ]
    moe = {**BASE, "num_experts": 4, "num_experts_per_tok": 1}

    facts = read_facts(write_model(tmp_path, moe, tensors))

    assert (facts.parameters, facts.active_parameters) == (500, 200)


def test_files_that_hold_the_same_once_more_are_not_counted_twice(tmp_path: Path) -> None:
    weight = [T("a", "BF16", (10,))]
    write_model(tmp_path, BASE, weight, shards=1)
    write_sparse(tmp_path / "consolidated.safetensors", *safetensors_header(weight))
    write_sparse(tmp_path / "original" / "model.safetensors", *safetensors_header(weight))

    assert read_facts(folder(tmp_path)).parameters == 10


def test_without_an_index_all_parts_count(tmp_path: Path) -> None:
    for number in (1, 2):
        header = safetensors_header([T(f"a{number}", "BF16", (10,))])
        write_sparse(tmp_path / f"model-0000{number}-of-00002.safetensors", *header)

    assert read_facts(folder(tmp_path)).parameters == 20


def test_a_gguf_model_in_parts_is_one_model(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        values = QWEN_VALUES if number == 1 else {"split.no": number - 1}
        header = gguf_header(values, [G(f"blk.{number}.attn_q.weight", "Q8_0", (32, 2))])
        write_sparse(tmp_path / f"m-Q8_0-0000{number}-of-00003.gguf", *header)

    facts = read_facts(folder(tmp_path))

    assert facts.parameters == 3 * 64
    assert facts.layers == 28
    assert facts.gguf_files == ("m-Q8_0-00001-of-00003.gguf",)


def test_a_part_that_is_missing_is_said(tmp_path: Path) -> None:
    write_sparse(tmp_path / "m-00001-of-00002.gguf", *gguf_header(QWEN_VALUES, []))

    facts = read_facts(folder(tmp_path))

    assert facts.notes == ("m-00002-of-00002.gguf: not there",)


def test_of_several_gguf_models_one_is_picked_and_a_projector_is_none(tmp_path: Path) -> None:
    for name, kind in (("b-Q8_0", "Q8_0"), ("a-Q4_0", "Q4_0"), ("mmproj-F16", "F16")):
        header = gguf_header(QWEN_VALUES, [G("blk.0.attn_q.weight", kind, (32, 2))])
        write_sparse(tmp_path / f"{name}.gguf", *header)

    source = folder(tmp_path)

    assert read_facts(source).gguf_files == ("a-Q4_0.gguf", "b-Q8_0.gguf")
    assert read_facts(source).dtypes == {"Q4_0": 64}
    assert read_facts(source, "b-Q8_0.gguf").dtypes == {"Q8_0": 64}
    assert "there are 2 GGUF models; this is a-Q4_0.gguf" in read_facts(source).notes


def test_gguf_layers_that_slide_or_have_no_heads_are_told_apart(tmp_path: Path) -> None:
    values = {
        "general.architecture": "x",
        "x.block_count": 4,
        "x.embedding_length": 64,
        "x.attention.head_count": 8,
        "x.attention.head_count_kv": [2, 0, 2, 2],
        "x.attention.sliding_window": 1024,
        "x.attention.sliding_window_pattern": [True, True, False, True],
        "x.attention.key_length": 24,
        "x.attention.value_length": 16,
    }
    write_sparse(tmp_path / "m.gguf", *gguf_header(values, []))

    facts = read_facts(folder(tmp_path))

    assert (facts.kv_heads, facts.cached_layers, facts.layers) == (2, 3, 4)
    assert (facts.sliding_layers, facts.sliding_window) == (3, 1024)
    assert (facts.head_dim, facts.value_dim) == (24, 16)


def test_pickles_are_weighed_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BASE))
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(b"x" * 100)
    (tmp_path / "training_args.bin").write_bytes(b"x" * 100)

    facts = read_facts(folder(tmp_path))

    assert (facts.format, facts.weight_bytes, facts.layers) == ("other", 100, 8)


@pytest.mark.parametrize(
    ("name", "content", "chats"),
    [
        ("tokenizer_config.json", b'{"chat_template": "{{ x }}"}', True),
        ("tokenizer_config.json", b"{}", False),
        ("chat_template.jinja", b"{{ x }}", True),
        ("other.json", b"{}", False),
    ],
)
def test_whether_it_chats_is_in_the_files(
    tmp_path: Path, name: str, content: bytes, chats: bool
) -> None:
    (tmp_path / name).write_bytes(content)

    assert read_facts(folder(tmp_path)).chat_template is chats
