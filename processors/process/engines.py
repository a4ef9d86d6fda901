"""The programs that serve models here, and the command line of each for a manifest.

One pure function per engine turns typed arguments into flags. Arguments that mean nothing to an
engine are left out; those it would misunderstand are refused, and so are extra ones that could
change where it listens, what it serves, which files it opens or whose code it runs: the driver
decides that. An engine's own list of arguments is open, so only those known for harmless pass.
"""

import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from processors.process import llama_server
from processors.process.weights import gguf_file, gguf_models
from schemas.engine import EXTRA, LLAMACPP, PLACEHOLDER, VLLM, EngineTemplate, suited
from schemas.facts import Format
from schemas.manifest import EngineArguments, Manifest
from schemas.message import Rejected, refuse_all

HOST = "127.0.0.1"

ENDINGS: Mapping[Format, Sequence[str]] = {
    "safetensors": (".safetensors",),
    "other": (".bin", ".pt", ".pth", ".onnx"),
}
LLAMA_CACHE_TYPES = {"float16": "f16", "bfloat16": "bf16", "q8_0": "q8_0", "q4_0": "q4_0"}
VLLM_EXTRA = frozenset(
    {
        "--all2all-backend", "--async-scheduling", "--attention-backend", "--block-size",
        "--calculate-kv-scales", "--chat-template-content-format", "--convert", "--cpu-offload-gb",
        "--cuda-graph-sizes", "--cudagraph-capture-sizes", "--data-parallel-size",
        "--decode-context-parallel-size", "--disable-cascade-attn", "--disable-custom-all-reduce",
        "--disable-log-requests", "--disable-log-stats", "--disable-sliding-window",
        "--disable-uvicorn-access-log", "--enable-auto-tool-choice", "--enable-chunked-prefill",
        "--enable-dbo", "--enable-expert-parallel", "--enable-force-include-usage",
        "--enable-prefix-caching", "--enable-prompt-tokens-details", "--enforce-eager",
        "--kv-cache-memory-bytes", "--kv-sharing-fast-prefill", "--language-model-only",
        "--limit-mm-per-prompt", "--logprobs-mode", "--long-prefill-token-threshold",
        "--max-cudagraph-capture-size", "--max-logprobs", "--max-long-partial-prefills",
        "--max-num-batched-tokens", "--max-num-partial-prefills", "--max-seq-len-to-capture",
        "--mm-encoder-tp-mode", "--mm-processor-cache-gb", "--moe-backend",
        "--num-gpu-blocks-override", "--override-generation-config", "--prefix-caching-hash-algo",
        "--reasoning-parser", "--response-role", "--return-tokens-as-token-ids", "--rope-scaling",
        "--rope-theta", "--runner", "--scheduling-policy", "--seed", "--swap-space", "--task",
        "--tool-call-parser",
    }
)  # fmt: skip
"""What a manifest may tell vLLM beside what it has fields for. Others open files, talk to hosts or
import code: `--chat-template`, `--lora-modules`, `--log-config-file` …"""

NUMBER = re.compile(r"-[0-9.]")


class Serving(NamedTuple):
    """What is to be served, and where. `model` is a GGUF file or the directory of the weights."""

    manifest: Manifest
    model: Path
    port: str
    host: str = HOST


@dataclass(frozen=True)
class EngineProgram:
    """`command` raises `Rejected` for arguments the engine does not take.

    `missing` says what to do when the engine is not installed, else nothing. Without `formats`
    it reads any. Of weights in GGUF it is pointed at the file, of others at the directory.
    """

    name: str
    command: Callable[[Serving], tuple[str, ...]]
    missing: Callable[[], str]
    health: str = "/health"
    formats: tuple[Format, ...] = ()

    def point_at(self, folder: Path, wanted: str) -> Path:
        """What of the weights the engine is to read. Raises `Rejected`."""
        reads_gguf = "gguf" in self.formats
        if (wanted and (reads_gguf or not self.formats)) or self.formats == ("gguf",):
            return gguf_file(folder, wanted)
        if not self.formats or _holds(folder, self.formats):
            return folder
        if reads_gguf:
            return gguf_file(folder, wanted)
        raise Rejected(
            "weights_unfit",
            f"{self.name} reads {', '.join(self.formats)}: the weights are not",
            remedy="install some that are, or name another engine: runtime",
        )


class Engines:
    """Every engine by name: the built-in ones, and those that the operator added or replaced."""

    def __init__(self, templates: Mapping[str, EngineTemplate] | None = None) -> None:
        added = {name: templated(name, template) for name, template in (templates or {}).items()}
        self._engines = {LLAMACPP: llamacpp_engine(), VLLM: vllm_engine(), **added}

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._engines)

    def choose(self, runtime: str, folder: Path) -> EngineProgram:
        """The engine that a manifest names, or the one for such weights. Raises `Rejected`."""
        name = runtime or suited(gguf=bool(gguf_models(folder)))
        engine = self._engines.get(name)
        if engine is None:
            known = ", ".join(self.names)
            raise Rejected(
                "unknown_engine",
                f"no engine is called {name}",
                remedy=f"use one of: {known}; or add it to MLLM_ENGINES",
                known=self.names,
            )
        return engine


def llamacpp_engine() -> EngineProgram:
    return EngineProgram(LLAMACPP, llamacpp, _llamacpp_missing, formats=("gguf",))


def vllm_engine() -> EngineProgram:
    return EngineProgram(VLLM, vllm, _vllm_missing, formats=("safetensors", "gguf", "other"))


def llamacpp(serving: Serving) -> tuple[str, ...]:
    """llama.cpp's server, in a Python of its own."""
    manifest, engine = serving.manifest, serving.manifest.engine
    refuse_all(_wrong_for_llamacpp(engine))
    context = engine.max_model_len
    if context is not None and engine.max_num_seqs is not None:
        context *= engine.max_num_seqs  # llama.cpp divides it among the sequences
    flags = _flags(
        ("--ctx-size", context),
        ("--parallel", engine.max_num_seqs),
        ("--threads", engine.threads),
        ("--n-gpu-layers", engine.gpu_layers),
        ("--cache-type-k", LLAMA_CACHE_TYPES.get(engine.kv_cache_dtype)),
        ("--cache-type-v", LLAMA_CACHE_TYPES.get(engine.kv_cache_dtype)),
        ("--split-mode", "row" if engine.tensor_parallel_size > 1 else None),
    )
    where = ("--host", serving.host, "--port", serving.port)
    what = ("--model", str(serving.model), "--alias", manifest.id)
    server = (sys.executable, "-P", llama_server.__file__)
    return (*server, *what, *where, *flags, *engine.extra)


def vllm(serving: Serving) -> tuple[str, ...]:
    manifest, engine = serving.manifest, serving.manifest.engine
    refuse_all(_wrong_for_vllm(engine))
    flags = _flags(
        ("--tensor-parallel-size", engine.tensor_parallel_size),
        ("--pipeline-parallel-size", engine.pipeline_parallel_size),
        ("--dtype", engine.dtype),
        ("--kv-cache-dtype", engine.kv_cache_dtype),
        ("--quantization", engine.quantization or None),
        ("--max-model-len", engine.max_model_len),
        ("--max-num-seqs", engine.max_num_seqs),
        ("--gpu-memory-utilization", engine.gpu_memory_utilization),
    )
    trust = ("--trust-remote-code",) if engine.trust_remote_code else ()
    where = ("--host", serving.host, "--port", serving.port)
    what = ("serve", str(serving.model), "--served-model-name", manifest.id)
    return (_vllm_program() or VLLM, *what, *where, *flags, *trust, *engine.extra)


def templated(name: str, template: EngineTemplate) -> EngineProgram:
    """An engine as its operator described it."""
    program = template.command[0]

    def command(serving: Serving) -> tuple[str, ...]:
        extra = serving.manifest.engine.extra
        if extra and EXTRA not in template.command:
            raise _refused(f"{name} takes no extra arguments", "leave out engine.extra")
        filled = [
            extra if argument == EXTRA else (_filled(argument, serving),)
            for argument in template.command[1:]
        ]
        where = shutil.which(program) or program
        return (where, *(argument for part in filled for argument in part))

    def missing() -> str:
        return "" if shutil.which(program) else f"install {program}, or correct MLLM_ENGINES"

    return EngineProgram(name, command, missing, template.health, template.formats)


def _filled(argument: str, serving: Serving) -> str:
    words = {
        "model": str(serving.model),
        "name": serving.manifest.id,
        "host": serving.host,
        "port": serving.port,
    }
    return PLACEHOLDER.sub(lambda found: words[found[1]], argument)


def _flags(*said: tuple[str, object | None]) -> tuple[str, ...]:
    """The flags that have a value."""
    return tuple(word for flag, value in said if value is not None for word in (flag, str(value)))


def _wrong_for_llamacpp(engine: EngineArguments) -> Iterator[Rejected]:
    if engine.kv_cache_dtype == "fp8":
        yield _refused("llama.cpp has no fp8 cache", "say q8_0 for kvCacheDtype")
    reserved = [argument for argument in engine.extra if _means(argument, llama_server.DECIDED)]
    for argument in reserved:
        remedy = "say it with the manifest's own fields, where there is one for it"
        yield _refused(f"{LLAMACPP}: {argument!r} can not be given as an extra argument", remedy)
    try:
        llama_server.parse(["--model", "m", "--port", "0", *engine.extra])
    except ValueError as error:
        if not reserved:
            yield _refused(f"{LLAMACPP}: {error}", "correct engine.extra")


def _wrong_for_vllm(engine: EngineArguments) -> Iterator[Rejected]:
    if engine.kv_cache_dtype in ("q8_0", "q4_0"):
        yield _refused(f"vLLM has no {engine.kv_cache_dtype} cache", "say fp8 for kvCacheDtype")
    if engine.quantization.startswith("-"):
        yield _refused(f"{engine.quantization} is no quantization", "name one, as in awq")
    for argument in engine.extra:
        if not argument.startswith("-") or NUMBER.match(argument):
            continue
        flag = argument.partition("=")[0].partition(".")[0].replace("_", "-")
        if flag.replace("--no-", "--", 1) not in VLLM_EXTRA:
            yield _refused(
                f"{VLLM}: {argument!r} can not be given as an extra argument",
                "use the manifest's own fields, or have an engine of its own added to MLLM_ENGINES",
            )


def _means(argument: str, reserved: Sequence[str]) -> bool:
    """Whether an argument parser would take it for one of these flags, in whatever spelling."""
    flag = argument.partition("=")[0].replace("_", "-")
    if not flag.startswith("-"):
        return False
    return flag in reserved if len(flag) < 3 else any(r.startswith(flag) for r in reserved)


def _refused(why: str, remedy: str) -> Rejected:
    return Rejected("invalid_engine_arguments", why, remedy=remedy)


def _holds(folder: Path, formats: Sequence[Format]) -> bool:
    """Whether there are files of such a format, GGUF apart."""
    endings = [ending for name in formats for ending in ENDINGS.get(name, ())]
    return any(next(folder.rglob(f"*{ending}"), None) is not None for ending in endings)


def _llamacpp_missing() -> str:
    if importlib.util.find_spec("xllamacpp") is not None:
        return ""
    return "install it: pip install 'mllm[llama]'"


def _vllm_missing() -> str:
    return "" if _vllm_program() else "install it where mllm runs: pip install vllm"


def _vllm_program() -> str | None:
    """On the PATH, or in the same virtual environment as mllm."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(VLLM) or shutil.which(VLLM, path=beside)
