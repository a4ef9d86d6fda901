"""Models as they are published: config.json's figures, and every tensor by name and shape."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.processors.facts.headers import G, T, each

LLAMA_3_8B: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "vocab_size": 128256,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}

LLAMA_3_70B_AWQ: Mapping[str, Any] = {
    **LLAMA_3_8B,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "quantization_config": {
        "bits": 4,
        "group_size": 128,
        "quant_method": "awq",
        "version": "gemm",
        "zero_point": True,
    },
    "torch_dtype": "float16",
}

MIXTRAL_8X7B: Mapping[str, Any] = {
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 32768,
    "sliding_window": None,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}

DEEPSEEK_R1: Mapping[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_nextn_predict_layers": 1,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "max_position_embeddings": 163840,
    "vocab_size": 129280,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "quantization_config": {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [128, 128],
    },
}


def ends(config: Mapping[str, Any], dtype: str) -> list[T]:
    """What is before and after the layers."""
    wide = (config["vocab_size"], config["hidden_size"])
    return [
        T("model.embed_tokens.weight", dtype, wide),
        T("model.norm.weight", dtype, wide[1:]),
        T("lm_head.weight", dtype, wide),
    ]


def attention(config: Mapping[str, Any], layer: int) -> Iterator[tuple[str, int, int]]:
    """Names, and dimensions out and in."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    narrow = hidden // heads * config["num_key_value_heads"]
    prefix = f"model.layers.{layer}.self_attn"
    for name, out in (("q", hidden), ("k", narrow), ("v", narrow), ("o", hidden)):
        yield f"{prefix}.{name}_proj", out, hidden


def gated(prefix: str, hidden: int, inner: int, names: str) -> Iterator[tuple[str, int, int]]:
    gate, up, down = names.split()
    yield f"{prefix}.{gate}", inner, hidden
    yield f"{prefix}.{up}", inner, hidden
    yield f"{prefix}.{down}", hidden, inner


def norms(config: Mapping[str, Any], layer: int, dtype: str) -> Iterator[T]:
    for name in ("input_layernorm", "post_attention_layernorm"):
        yield T(f"model.layers.{layer}.{name}.weight", dtype, (config["hidden_size"],))


def linears(config: Mapping[str, Any], layer: int) -> Iterator[tuple[str, int, int]]:
    yield from attention(config, layer)
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    yield from gated(f"model.layers.{layer}.mlp", hidden, inner, "gate_proj up_proj down_proj")


def llama(config: Mapping[str, Any]) -> list[T]:
    def layer(number: int) -> Iterator[T]:
        for name, *shape in linears(config, number):
            yield T(f"{name}.weight", "BF16", tuple(shape))
        yield from norms(config, number, "BF16")

    return ends(config, "BF16") + each(config["num_hidden_layers"], layer)


def llama_awq(config: Mapping[str, Any]) -> list[T]:
    """Eight weights in an integer, a scale and a zero for each group of 128."""

    def layer(number: int) -> Iterator[T]:
        for name, out, into in linears(config, number):
            yield T(f"{name}.qweight", "I32", (into, out // 8))
            yield T(f"{name}.qzeros", "I32", (into // 128, out // 8))
            yield T(f"{name}.scales", "F16", (into // 128, out))
        yield from norms(config, number, "F16")

    return ends(config, "F16") + each(config["num_hidden_layers"], layer)


def mixtral(config: Mapping[str, Any]) -> list[T]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]

    def layer(number: int) -> Iterator[T]:
        moe = f"model.layers.{number}.block_sparse_moe"
        yield T(f"{moe}.gate.weight", "BF16", (8, hidden))
        for name, *shape in attention(config, number):
            yield T(f"{name}.weight", "BF16", tuple(shape))
        for expert in range(8):
            for name, *shape in gated(f"{moe}.experts.{expert}", hidden, inner, "w1 w3 w2"):
                yield T(f"{name}.weight", "BF16", tuple(shape))
        yield from norms(config, number, "BF16")

    return ends(config, "BF16") + each(config["num_hidden_layers"], layer)


def fp8(name: str, out: int, into: int) -> Iterator[T]:
    """A weight, and a scale for each block of 128 by 128."""
    yield T(f"{name}.weight", "F8_E4M3", (out, into))
    yield T(f"{name}.weight_scale_inv", "F32", (-(-out // 128), -(-into // 128)))


def deepseek(config: Mapping[str, Any]) -> list[T]:
    """61 layers, and a 62nd that predicts one token further ahead, with ends of its own."""
    hidden = config["hidden_size"]
    ahead = f"model.layers.{config['num_hidden_layers']}"
    wide = (config["vocab_size"], hidden)
    more = [
        T(f"{ahead}.embed_tokens.weight", "BF16", wide),
        T(f"{ahead}.shared_head.head.weight", "BF16", wide),
        T(f"{ahead}.eh_proj.weight", "BF16", (hidden, 2 * hidden)),
        *(
            T(f"{ahead}.{name}.weight", "BF16", (hidden,))
            for name in ("enorm", "hnorm", "shared_head.norm")
        ),
    ]
    layers = each(config["num_hidden_layers"] + 1, lambda layer: deepseek_layer(config, layer))
    return ends(config, "BF16") + layers + more


def deepseek_layer(config: Mapping[str, Any], layer: int) -> Iterator[T]:
    hidden, prefix = config["hidden_size"], f"model.layers.{layer}"
    attn, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
    names = "gate_proj up_proj down_proj"
    yield from fp8(f"{attn}.q_a_proj", 1536, hidden)
    yield from fp8(f"{attn}.q_b_proj", 128 * 192, 1536)
    yield from fp8(f"{attn}.kv_a_proj_with_mqa", 576, hidden)
    yield from fp8(f"{attn}.kv_b_proj", 128 * 256, 512)
    yield from fp8(f"{attn}.o_proj", hidden, 128 * 128)
    yield T(f"{attn}.q_a_layernorm.weight", "BF16", (1536,))
    yield T(f"{attn}.kv_a_layernorm.weight", "BF16", (512,))
    yield from norms(config, layer, "BF16")
    if layer < config["first_k_dense_replace"]:
        for shape in gated(mlp, hidden, config["intermediate_size"], names):
            yield from fp8(*shape)
        return
    yield T(f"{mlp}.gate.weight", "BF16", (256, hidden))
    yield T(f"{mlp}.gate.e_score_correction_bias", "F32", (256,))
    for shape in gated(f"{mlp}.shared_experts", hidden, 2048, names):
        yield from fp8(*shape)
    for expert in range(256):
        for shape in gated(f"{mlp}.experts.{expert}", hidden, 2048, names):
            yield from fp8(*shape)


QWEN_VALUES: Mapping[str, Any] = {
    "general.architecture": "qwen2",
    "general.name": "Qwen2.5 7B Instruct",
    "general.file_type": 15,
    "qwen2.block_count": 28,
    "qwen2.context_length": 32768,
    "qwen2.embedding_length": 3584,
    "qwen2.feed_forward_length": 18944,
    "qwen2.attention.head_count": 28,
    "qwen2.attention.head_count_kv": 4,
    "qwen2.rope.freq_base": 1000000.0,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.add_bos_token": False,
    "tokenizer.chat_template": "{% for message in messages %}" * 80,
}
WORDS = 152064


def qwen_tokenizer() -> Mapping[str, Any]:
    """About as many bytes as the real one takes."""
    return {
        "tokenizer.ggml.tokens": [f"token{number}" for number in range(WORDS)],
        "tokenizer.ggml.token_type": [1] * WORDS,
        "tokenizer.ggml.merges": [f"ab cd{number}" for number in range(151387)],
    }


def qwen_q4_k_m() -> list[G]:
    """Q4_K, but for values and the feed-forward layer's last matrix, every other of which is Q6_K:
    in the first and last eighth of the layers, and in every third of the rest."""
    hidden, inner, narrow = 3584, 18944, 512
    tensors = [
        G("token_embd.weight", "Q4_K", (hidden, WORDS)),
        G("output.weight", "Q6_K", (hidden, WORDS)),
        G("output_norm.weight", "F32", (hidden,)),
    ]
    for layer in range(28):
        more = "Q6_K" if layer < 3 or layer >= 24 or (layer - 3) % 3 == 2 else "Q4_K"
        blk = f"blk.{layer}"
        tensors += [
            G(f"{blk}.attn_q.weight", "Q4_K", (hidden, hidden)),
            G(f"{blk}.attn_k.weight", "Q4_K", (hidden, narrow)),
            G(f"{blk}.attn_v.weight", more, (hidden, narrow)),
            G(f"{blk}.attn_output.weight", "Q4_K", (hidden, hidden)),
            G(f"{blk}.attn_q.bias", "F32", (hidden,)),
            G(f"{blk}.attn_k.bias", "F32", (narrow,)),
            G(f"{blk}.attn_v.bias", "F32", (narrow,)),
            G(f"{blk}.ffn_gate.weight", "Q4_K", (hidden, inner)),
            G(f"{blk}.ffn_up.weight", "Q4_K", (hidden, inner)),
            G(f"{blk}.ffn_down.weight", more, (inner, hidden)),
            G(f"{blk}.attn_norm.weight", "F32", (hidden,)),
            G(f"{blk}.ffn_norm.weight", "F32", (hidden,)),
        ]
    return tensors
