"""Facts of models that are known, read from headers like theirs."""

from pathlib import Path

from processors.facts.reading import read_facts
from schemas.facts import Facts
from tests.processors.facts.headers import folder, gguf_header, write_model, write_sparse
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
    qwen_tokenizer,
)


def test_llama_3_8b_is_counted_to_the_last_parameter(tmp_path: Path) -> None:
    facts = read_facts(write_model(tmp_path, LLAMA_3_8B, llama(LLAMA_3_8B), shards=4))

    assert facts.parameters == facts.active_parameters == 8_030_261_248
    assert facts.weight_bytes == 16_060_522_496
    assert facts.dtypes == {"BF16": 8_030_261_248}
    assert facts.embedding_bytes == 2 * 128256 * 4096 * 2
    assert facts.notes == ()
    assert _shape(facts) == ("LlamaForCausalLM", 32, 32, 8, 128, 8192, 128256)


def test_of_mixtral_only_two_of_eight_experts_are_active(tmp_path: Path) -> None:
    facts = read_facts(write_model(tmp_path, MIXTRAL_8X7B, mixtral(MIXTRAL_8X7B), shards=19))

    assert facts.parameters == 46_702_792_704
    assert facts.active_parameters == 12_879_925_248
    assert facts.weight_bytes == 93_405_585_408
    assert (facts.experts, facts.experts_per_token) == (8, 2)
    assert _shape(facts) == ("MixtralForCausalLM", 32, 32, 8, 128, 32768, 32000)


def test_a_70b_awq_is_counted_unpacked(tmp_path: Path) -> None:
    tensors = llama_awq(LLAMA_3_70B_AWQ)
    facts = read_facts(write_model(tmp_path, LLAMA_3_70B_AWQ, tensors, shards=9))

    assert facts.weight_bytes == 39_767_785_472
    assert facts.parameters == 70_553_706_496
    assert facts.quantization == "awq"
    assert facts.bits == 4.51
    assert _shape(facts) == ("LlamaForCausalLM", 80, 64, 8, 128, 8192, 128256)


def test_deepseek_r1_is_671b_of_which_37b_are_active_and_14b_more_predict_ahead(
    tmp_path: Path,
) -> None:
    facts = read_facts(write_model(tmp_path, DEEPSEEK_R1, deepseek(DEEPSEEK_R1), shards=163))

    published = {"BF16": 3_918_786_560, "F8_E4M3": 680_571_043_840, "F32": 41_555_600}
    assert facts.dtypes == published
    assert facts.parameters == 671_026_419_200
    assert abs(facts.active_parameters - 37.5e9) < 0.1e9
    assert abs(facts.weight_bytes - 688.6e9) < 0.001 * 688.6e9
    assert abs(facts.draft_parameters - 13.5e9) < 0.1e9
    assert facts.quantization == "fp8"
    assert (facts.kv_lora_rank, facts.rope_head_dim) == (512, 64)
    assert (facts.experts, facts.experts_per_token, facts.shared_experts) == (256, 8, 1)


def test_a_qwen_in_four_bits_is_counted_by_its_blocks(tmp_path: Path) -> None:
    header = gguf_header({**QWEN_VALUES, **qwen_tokenizer()}, qwen_q4_k_m())
    write_sparse(tmp_path / "Qwen2.5-7B-Instruct-Q4_K_M.gguf", *header)

    facts = read_facts(folder(tmp_path))

    assert facts.parameters == 7_615_616_512
    assert abs(facts.weight_bytes - 4.68e9) < 0.01 * 4.68e9
    assert facts.quantization == "Q4_K_M"
    assert facts.format == "gguf"
    assert facts.chat_template
    assert facts.gguf_files == ("Qwen2.5-7B-Instruct-Q4_K_M.gguf",)
    assert _shape(facts) == ("qwen2", 28, 28, 4, 128, 32768, 152064)


def test_without_headers_the_configuration_says_nearly_as_much(tmp_path: Path) -> None:
    for name, config in (("llama", LLAMA_3_8B), ("mixtral", MIXTRAL_8X7B), ("r1", DEEPSEEK_R1)):
        write_model(tmp_path / name, config, [])
        (tmp_path / name / "model.safetensors").write_bytes(b"cut")

    facts = {name: read_facts(folder(tmp_path / name)) for name in ("llama", "mixtral", "r1")}

    assert facts["llama"].parameters == 8_030_261_248
    assert facts["mixtral"].parameters == 46_702_792_704
    assert facts["mixtral"].active_parameters == 12_879_925_248
    assert abs(facts["r1"].parameters - 671_026_419_200) < 1e6
    assert "parameters are reckoned from config.json" in facts["r1"].notes


def _shape(facts: Facts) -> tuple[str, int, int, int, int, int, int]:
    return (
        facts.architecture,
        facts.layers,
        facts.heads,
        facts.kv_heads,
        facts.head_dim,
        facts.context,
        facts.vocabulary,
    )
