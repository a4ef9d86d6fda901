"""llama.cpp's OpenAI-compatible server as a program: `python -P llama_server.py --model FILE …`.

It listens before it has loaded, saying 503 on /health, and 200 once it serves. Only the standard
library and xllamacpp are imported, the latter when it is really run.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

DECIDED = ("--host", "--port", "--model", "--alias", "--ctx-size", "--parallel", "--threads",
           "--n-gpu-layers", "--cache-type-k", "--cache-type-v")  # fmt: skip
CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl")
POOLING = ("none", "mean", "cls", "last", "rank")

KEY = "LLAMA_API_KEY"
"""The variable with what it asks for before it answers anything but /health and /v1/models."""

WHOLE = {
    "--batch-size": "n_batch",
    "--ubatch-size": "n_ubatch",
    "--threads-http": "n_threads_http",
    "--cache-ram": "cache_ram_mib",
    "--cache-reuse": "n_cache_reuse",
    "--main-gpu": "main_gpu",
}
REAL = {"--rope-freq-base": "rope_freq_base", "--rope-freq-scale": "rope_freq_scale"}
ON = {
    "--embeddings": "embedding",
    "--swa-full": "swa_full",
    "--no-kv-offload": "no_kv_offload",
    "--context-shift": "ctx_shift",
}


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def main() -> None:
    try:
        arguments = parse(sys.argv[1:])
    except ValueError as error:
        sys.exit(f"llama_server: {error}")
    serve(importlib.import_module("xllamacpp"), arguments)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Raises `ValueError`. Every flag but the first four is one of llama.cpp's own."""
    parser = Parser(prog="llama_server", add_help=False, allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--alias", default="")
    parser.add_argument("--ctx-size", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--threads-batch", type=int)
    parser.add_argument("--n-gpu-layers", type=int)
    parser.add_argument("--cache-type-k", choices=CACHE_TYPES, default="f16")
    parser.add_argument("--cache-type-v", choices=CACHE_TYPES, default="f16")
    parser.add_argument("--split-mode", choices=("none", "layer", "row", "tensor"))
    parser.add_argument("--pooling", choices=POOLING)
    parser.add_argument("--flash-attn", choices=("on", "off", "auto"))
    parser.add_argument("--chat-template")
    parser.add_argument("--no-warmup", action="store_true")
    for flag, name in WHOLE.items():
        parser.add_argument(flag, dest=name, type=int)
    for flag, name in REAL.items():
        parser.add_argument(flag, dest=name, type=float)
    for flag, name in ON.items():
        parser.add_argument(flag, dest=name, action="store_true", default=None)
    return parser.parse_args(list(argv))


def serve(xllamacpp: Any, arguments: argparse.Namespace) -> None:
    """Load, serve, and stay. Nothing handles SIGTERM: there is nothing to save, and llama.cpp may
    hang when it is told to end while it begins."""
    try:
        server = xllamacpp.Server(parameters(xllamacpp, arguments))
    except RuntimeError as error:
        sys.exit(f"llama_server: {error}")  # llama.cpp has said why
    print(f"serving {arguments.model} on {server.listening_address}", flush=True)
    while True:
        signal.pause()


def parameters(xllamacpp: Any, arguments: argparse.Namespace) -> Any:
    """llama.cpp's own parameters, as the flags say."""
    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.model_alias = {arguments.alias} if arguments.alias else set[str]()
    params.hostnames = [arguments.host]
    params.port = arguments.port
    params.n_ctx = arguments.ctx_size
    # Sequences with a length of their own have each a part of the context; others share it.
    params.n_parallel = arguments.parallel or -1
    params.kv_unified = not (arguments.parallel and arguments.ctx_size)
    _manners(params)
    if key := os.environ.get(KEY):
        params.api_keys = [key]
    _set_enums(xllamacpp, params, arguments)
    if arguments.threads:
        params.cpuparams.n_threads = arguments.threads
    if arguments.threads_batch:
        params.cpuparams_batch.n_threads = arguments.threads_batch
    if arguments.n_gpu_layers is not None:
        params.n_gpu_layers = arguments.n_gpu_layers
    if arguments.chat_template is not None:
        params.chat_template = arguments.chat_template
    if arguments.no_warmup:
        params.warmup = False
    for name in (*WHOLE.values(), *REAL.values(), *ON.values()):
        if (value := getattr(arguments, name)) is not None:
            setattr(params, name, value)
    return params


def _manners(params: Any) -> None:
    """It is reached through mllm alone: no pages of its own, no browser's scripts, no downloads."""
    params.ui = False
    params.offline = True
    params.endpoint_metrics = True
    params.cors_origins = "localhost"


def _set_enums(xllamacpp: Any, params: Any, arguments: argparse.Namespace) -> None:
    params.cache_type_k = _member(xllamacpp.ggml_type, arguments.cache_type_k)
    params.cache_type_v = _member(xllamacpp.ggml_type, arguments.cache_type_v)
    if arguments.split_mode:
        params.split_mode = _member(xllamacpp.llama_split_mode, arguments.split_mode)
    if arguments.pooling:
        params.pooling_type = _member(xllamacpp.llama_pooling_type, arguments.pooling)
    if arguments.flash_attn:
        named = {"on": "enabled", "off": "disabled", "auto": "auto"}[arguments.flash_attn]
        params.flash_attn_type = _member(xllamacpp.llama_flash_attn_type, named)


def _member(enum: Any, name: str) -> Any:
    """A member by the end of its name, which repeats the enumeration's before it."""
    return next(member for member in enum if member.name.endswith(f"_{name.upper()}"))


if __name__ == "__main__":
    main()
