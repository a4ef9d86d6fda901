"""What each engine is told, and which arguments it is not."""

import importlib
import sys
from pathlib import Path

import msgspec
import pytest

from processors.process import llama_server
from processors.process.engines import Engines, Serving, llamacpp, templated, vllm
from schemas.engine import EngineTemplate, read_engines
from schemas.manifest import EngineArguments, Manifest, WeightsSource
from schemas.message import Rejected

MODEL = Path("/weights/default/tiny")


def serving(**arguments: object) -> Serving:
    engine = msgspec.convert(arguments, EngineArguments)
    return Serving(Manifest("tiny", WeightsSource("tiny"), engine=engine), MODEL, "8123")


def pairs(command: tuple[str, ...]) -> dict[str, str]:
    """Flags and what follows them."""
    return dict(zip(command, (*command[1:], ""), strict=True))


def test_llamacpp_is_told_where_and_what_to_serve() -> None:
    command = llamacpp(serving())

    assert command[:3] == (sys.executable, "-P", llama_server.__file__)
    assert command[3:] == ("--model", str(MODEL), "--alias", "tiny", "--host", "127.0.0.1",
                           "--port", "8123")  # fmt: skip


def test_llamacpp_is_told_what_the_manifest_says() -> None:
    said = pairs(
        llamacpp(serving(maxModelLen=2048, threads=3, gpuLayers=0, kvCacheDtype="q8_0",
                         tensorParallelSize=2, extra=["--batch-size", "64"]))
    )  # fmt: skip

    assert (said["--ctx-size"], said["--threads"], said["--n-gpu-layers"]) == ("2048", "3", "0")
    assert (said["--cache-type-k"], said["--cache-type-v"]) == ("q8_0", "q8_0")
    assert (said["--split-mode"], said["--batch-size"]) == ("row", "64")


def test_each_of_llamacpps_sequences_has_the_length_that_was_asked_for() -> None:
    said = pairs(llamacpp(serving(maxModelLen=1000, maxNumSeqs=4)))

    assert (said["--ctx-size"], said["--parallel"]) == ("4000", "4")


def test_vllm_is_told_what_the_manifest_says() -> None:
    command = vllm(
        serving(tensorParallelSize=2, pipelineParallelSize=3, dtype="bfloat16", kvCacheDtype="fp8",
                quantization="awq", maxModelLen=4096, maxNumSeqs=16, gpuMemoryUtilization=0.85,
                trustRemoteCode=True, extra=["--seed", "1"])
    )  # fmt: skip

    assert command[1:] == (
        "serve", str(MODEL), "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", "8123",
        "--tensor-parallel-size", "2", "--pipeline-parallel-size", "3", "--dtype", "bfloat16",
        "--kv-cache-dtype", "fp8", "--quantization", "awq", "--max-model-len", "4096",
        "--max-num-seqs", "16", "--gpu-memory-utilization", "0.85", "--trust-remote-code",
        "--seed", "1",
    )  # fmt: skip


def test_remote_code_is_not_trusted_unless_it_is_said() -> None:
    assert "--trust-remote-code" not in vllm(serving())


@pytest.mark.parametrize(
    "extra",
    [
        ["--host", "0.0.0.0"],
        ["--host=0.0.0.0"],
        ["--hos", "0.0.0.0"],
        ["--trust_remote_code"],
        ["--trust-remote"],
        ["--served-model-name", "x"],
        ["--api-key", "x"],
        ["--middleware", "x.y"],
        ["-tp", "8"],
        ["-q", "awq"],
        ["-qawq"],
        ["--lora-modules", "other=/srv/weights/other/model"],
        ["--log-config-file=/srv/weights/mine/logging.json"],
        ["--kv-transfer-config.kv_connector_module_path", "x.y"],
        ["--speculative_config", '{"model": "/srv/weights/other/model"}'],
        ["--otlp-traces-endpoint", "http://169.254.169.254"],
        ["-O.backend", "x.y"],
        ["--", "x"],
    ],
)
def test_extra_arguments_do_not_decide_what_the_driver_or_the_manifest_does(
    extra: list[str],
) -> None:
    for engine in (vllm, llamacpp):
        with pytest.raises(Rejected) as raised:
            engine(serving(extra=extra))
        assert raised.value.code == "invalid_engine_arguments"


def test_vllm_opens_no_file_for_a_chat_template() -> None:
    with pytest.raises(Rejected, match="--chat-template"):
        vllm(serving(extra=["--chat-template", "/etc/passwd"]))


def test_extra_arguments_that_only_tune_pass() -> None:
    extra = ["--enable_prefix_caching", "--no-enable-chunked-prefill", "--seed", "-1",
             "--limit-mm-per-prompt.image=2", "--max-num-batched-tokens=4096"]  # fmt: skip

    assert list(vllm(serving(extra=extra))[-len(extra) :]) == extra


def test_no_value_becomes_another_flag() -> None:
    with pytest.raises(Rejected, match="no quantization"):
        vllm(serving(quantization="--allowed-local-media-path=/"))


@pytest.mark.parametrize(
    "extra", [["--batch-size", "many"], ["--nonsense"], ["positional"], ["--port", "1"]]
)
def test_extra_arguments_that_llamacpp_does_not_know_are_refused(extra: list[str]) -> None:
    with pytest.raises(Rejected) as raised:
        llamacpp(serving(extra=extra))
    assert raised.value.code == "invalid_engine_arguments"


def test_a_cache_that_the_engine_does_not_have_is_refused() -> None:
    with pytest.raises(Rejected, match="no fp8 cache"):
        llamacpp(serving(kvCacheDtype="fp8"))
    with pytest.raises(Rejected, match="no q4_0 cache"):
        vllm(serving(kvCacheDtype="q4_0"))


def test_all_that_an_engine_does_not_take_is_told_at_once() -> None:
    with pytest.raises(Rejected) as raised:
        llamacpp(serving(kvCacheDtype="fp8", extra=["--host", "x", "--alias", "y"]))
    for words in ("no fp8 cache", "'--host'", "'--alias'"):
        assert words in str(raised.value)
    assert str(raised.value.details["remedy"]).count("; ") == 1

    with pytest.raises(Rejected) as raised:
        vllm(serving(kvCacheDtype="q4_0", quantization="-x", extra=["--host", "--uds"]))
    for words in ("no q4_0 cache", "no quantization", "'--host'", "'--uds'"):
        assert words in str(raised.value)


def test_an_operators_engine_is_run_as_its_operator_says() -> None:
    template = EngineTemplate(
        (
            sys.executable,
            "run",
            "--at",
            "{host}:{port}",
            "{model}",
            "as={name}",
            "{extra}",
            '{"a": 1}',
        )
    )

    command = templated("mine", template).command(serving(extra=["--one", "--two"]))

    assert command == (
        sys.executable, "run", "--at", "127.0.0.1:8123", str(MODEL), "as=tiny", "--one", "--two",
        '{"a": 1}',
    )  # fmt: skip


def test_what_a_manifest_says_can_not_become_a_placeholder() -> None:
    template = EngineTemplate((sys.executable, "{extra}", "{port}"))

    assert "{model}" in templated("mine", template).command(serving(extra=["{model}"]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": {"command": []}},
        {"x": {"command": ["run"]}},
        {"x": {"command": ["{model}", "{port}"]}},
        {"x": {"command": ["run", "{prot}", "{port}"]}},
        {"x": {"command": ["run", "--{extra}", "{port}"]}},
        {"x": {"command": ["run", "{port}"], "health": "nowhere"}},
        {"x": {"command": ["run", "{port}"], "shell": True}},
        {"Not A Name": {"command": ["run", "{port}"]}},
    ],
)
def test_a_template_that_can_not_be_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - one message for each
        read_engines(wrong)


def test_the_engine_follows_from_the_weights_unless_it_is_named(tmp_path: Path) -> None:
    engines = Engines()
    assert engines.choose("", tmp_path).name == "vllm"

    (tmp_path / "model.gguf").touch()

    assert engines.choose("", tmp_path).name == "llamacpp"
    assert engines.choose("vllm", tmp_path).name == "vllm"


def test_an_engine_is_pointed_at_what_it_reads(tmp_path: Path) -> None:
    mine = EngineTemplate(("run", "{port}"), formats=("safetensors",))
    engines = Engines({"mine": mine, "any": EngineTemplate(("run", "{port}"))})
    gguf = tmp_path / "model.gguf"
    gguf.touch()

    assert engines.choose("llamacpp", tmp_path).point_at(tmp_path, "") == gguf
    assert engines.choose("vllm", tmp_path).point_at(tmp_path, "") == gguf
    assert engines.choose("any", tmp_path).point_at(tmp_path, "") == tmp_path
    with pytest.raises(Rejected, match="reads safetensors"):
        engines.choose("mine", tmp_path).point_at(tmp_path, "")

    (tmp_path / "model.safetensors").touch()
    assert engines.choose("vllm", tmp_path).point_at(tmp_path, "") == tmp_path
    assert engines.choose("vllm", tmp_path).point_at(tmp_path, "model.gguf") == gguf
    assert engines.choose("mine", tmp_path).point_at(tmp_path, "") == tmp_path


def test_llamacpps_own_parameters_are_what_the_flags_say() -> None:
    xllamacpp = importlib.import_module("xllamacpp")
    said = ["--model", "m.gguf", "--port", "1", "--alias", "tiny", "--ctx-size", "64",
            "--parallel", "2", "--threads", "3", "--n-gpu-layers", "0", "--cache-type-k", "q8_0",
            "--cache-type-v", "f16", "--split-mode", "row", "--pooling", "mean",
            "--flash-attn", "on", "--batch-size", "32", "--rope-freq-scale", "0.5",
            "--embeddings", "--no-warmup"]  # fmt: skip

    params = llama_server.parameters(xllamacpp, llama_server.parse(said))

    assert (params.model.path, params.model_alias, params.port) == ("m.gguf", {"tiny"}, 1)
    assert (params.n_ctx, params.n_parallel, params.kv_unified) == (64, 2, False)
    assert (params.cpuparams.n_threads, params.n_gpu_layers, params.n_batch) == (3, 0, 32)
    assert params.cache_type_k == xllamacpp.ggml_type.GGML_TYPE_Q8_0
    assert params.split_mode == xllamacpp.llama_split_mode.LLAMA_SPLIT_MODE_ROW
    assert params.pooling_type == xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    assert params.flash_attn_type == xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    assert (params.rope_freq_scale, params.embedding, params.warmup) == (0.5, True, False)
    assert (params.ui, params.offline, params.cors_origins) == (False, True, "localhost")
