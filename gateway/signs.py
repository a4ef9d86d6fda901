"""What texts of engines and clusters give away, and what then helps.

What somebody has learnt once is a line here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

READ_LOG = "look at its log"
"""Whoever tells it says how."""


class Sign(NamedTuple):
    """What some text gives away."""

    pattern: re.Pattern[str]
    problem: str
    remedy: str


def _sign(pattern: str, problem: str, remedy: str) -> Sign:
    return Sign(re.compile(pattern, re.IGNORECASE), problem, remedy)


SIGNS: Sequence[Sign] = (
    _sign(
        r"cuda out of memory|outofmemoryerror|hip out of memory|cudaMalloc failed"
        r"|ggml_backend_\w+ failed to allocate|failed to allocate (compute|buffer)",
        "the GPU's memory does not suffice",
        "lower `engine.maxModelLen` or `engine.maxNumSeqs`, raise `engine.tensorParallelSize`, or"
        " choose a more strongly quantised model",
    ),
    _sign(
        r"larger than the (maximum number of tokens|available kv cache)|no available memory for the"
        r" cache blocks|kv cache is needed, which is larger",
        "the context is too long for the memory that the weights leave",
        "lower `engine.maxModelLen`, or raise `engine.gpuMemoryUtilization`",
    ),
    _sign(
        r"oomkilled|cannot allocate memory|std::bad_alloc|killed process",
        "the machine's memory does not suffice",
        "raise `resources.memory`, or choose a smaller model",
    ),
    _sign(
        r"insufficient (nvidia\.com/gpu|amd\.com/gpu|\S*gpu)",
        "no machine has that many GPUs free",
        "free some (`mllm runtime status` says who holds them), activate with `--preempt`, or ask"
        " for fewer in `resources.gpus`",
    ),
    _sign(
        r"insufficient (memory|cpu)",
        "no machine has that much memory or CPU free",
        "ask for less in `resources`, or free some",
    ),
    _sign(
        r"untolerated taint|didn't match pod's node affinity|node\(s\) didn't match",
        "no machine may take it",
        "put right `nodeSelector` and `tolerations`",
    ),
    _sign(
        r"nodenotready|nodelost|kubelet stopped posting",
        "the machine that it runs on does not answer any more",
        "look at that node (`kubectl describe node`); its pods come up elsewhere when it is drained"
        " or deleted",
    ),
    _sign(
        r"imagepullbackoff|errimagepull|invalidimagename",
        "the engine's image can not be had",
        "look at the image's name in the serving runtime, and at the cluster's pull secrets",
    ),
    _sign(
        r"createcontainerconfigerror|secret \S+ not found|configmap \S+ not found"
        r"|couldn't find key",
        "a secret or a config map that it needs is not there",
        "create it, or put right `env` and `volumes`",
    ),
    _sign(
        r"failedmount|persistentvolumeclaim \S+ not found|unbound immediate persistentvolumeclaims",
        "a volume can not be mounted",
        "look at the claim that holds the weights, and at `volumes`",
    ),
    _sign(
        r"trust_remote_code",
        "the model brings code of its own, which is not trusted",
        "read that code; then set `engine.trustRemoteCode`",
    ),
    _sign(
        r"unknown model architecture|model architectures? \S+ (is|are) not supported"
        r"|unsupported architecture",
        "the engine does not know the model's architecture",
        "choose another runtime, or a newer version of this one",
    ),
    _sign(
        r"address already in use",
        "the engine's port is taken",
        "end what listens there; the engine is started again by itself",
    ),
    _sign(
        r"no space left on device",
        "a disk is full",
        "make room: `mllm weights usage` says what is stored",
    ),
    _sign(
        r"no such file or directory|failed to open gguf|invalid magic|safetensors_rust",
        "the weights are not there, or not whole",
        "run `mllm weights verify`",
    ),
    _sign(
        r"permission denied",
        "a file may not be read",
        "let the user that runs the engine read the weights' directory",
    ),
)

CODES: Mapping[str, tuple[str, str]] = {
    "timed_out": (
        "it did not answer in time",
        f"{READ_LOG}; a big model may need a longer timeout",
    ),
    "engine_failed": ("the engine ended by itself", READ_LOG),
    "engine_missing": ("the engine is not installed", "install it where mllm runs"),
    "unknown_engine": (
        "there is no such engine here",
        "choose another `runtime`, or describe this one in MLLM_ENGINES",
    ),
    "invalid_engine_arguments": ("the engine does not take its arguments", "put right `engine`"),
    "unsupported_by_runtime": (
        "it asks for what this runtime does not have",
        "put right `env` and `volumes`",
    ),
    "secret_not_found": ("a secret is missing", "set it: `mllm secrets set`"),
    "no_capacity": ("there are not enough GPUs", "free some, or activate with `--preempt`"),
    "weights_not_installed": ("its weights are not installed", "run `mllm weights install`"),
    "weights_missing": ("its weights are not where it runs", "install them in that store"),
    "weights_file_missing": ("its weights have no such file", "put right `weights.file`"),
    "weights_ambiguous": ("its weights have several models", "choose one by `weights.file`"),
    "weights_unfit": ("the engine does not read such weights", "choose another `runtime`"),
    "weights_corrupted": ("its weights are not whole", "install them again, with `--overwrite`"),
    "model_deleted": ("its model was deleted meanwhile", "apply it again"),
    "invalid": ("the cluster does not take it as it is", "look at what it says, and put it right"),
    "unavailable": ("what it runs on did not answer", "see `mllm doctor`"),
    "kserve_missing": ("the cluster has no KServe", "install KServe and its CRDs"),
    "forbidden_cluster": (
        "the cluster does not let us",
        "give the service account the role in `deploy/`",
    ),
    "cluster_unreachable": ("the cluster does not answer", "look at its API server"),
}
"""What the code of a failure means, and what to do."""
