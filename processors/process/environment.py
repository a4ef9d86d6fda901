"""What a server finds in its environment: little of ours, none of our secrets, and its own."""

import os
import re
from collections.abc import Iterator, Mapping

import msgspec

from processors.process.holding import MARKER, Facts
from processors.process.keys import NAMES
from processors.process.launch import FACTS
from processors.process.places import Place
from schemas.manifest import EnvVar, Manifest
from schemas.message import Rejected, refuse_all
from schemas.secrets import Secrets

INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "XDG_CACHE_HOME",
     "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "OMP_NUM_THREADS"}
)  # fmt: skip
INHERITED_FAMILIES = ("CUDA_", "NVIDIA_", "NCCL_", "HIP_", "HSA_", "ROCR_", "ROCM_", "GGML_",
                      "VLLM_")  # fmt: skip
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",
}
FORBIDDEN = frozenset({"ENV", "BASH_ENV", "IFS", "GLIBC_TUNABLES", "TMP", "TEMP", "CC", "CXX",
                       "HOSTALIASES", *NAMES})  # fmt: skip
FORBIDDEN_FAMILIES = ("LD_", "DYLD_", "PYTHON", "MLLM_", "GIT_", "OPENSSL_", "SSL", "MALLOC_",
                      "HF_HUB_", "TRANSFORMERS_", "LLAMA_", "VLLM_ALLOW_",
                      "VLLM_SERVER_")  # fmt: skip
FORBIDDEN_PARTS = re.compile(
    r"PATH|DIR|HOME|ROOT|LIB|PLUGIN|PRELOAD|INJECT|MODULE|TOOL|TRACE|CONF|FILE|CACHE|FLAGS|OPTIONS"
    r"|OPTS|EXEC|COMPILER|CUDACXX|PROXY|ENDPOINT|OFFLINE|DEVICE|INSECURE"
)
"""Parts of names that say what is loaded or run, which files are read or written, whom it talks to,
or which cards it has: libraries and compilers ask the environment for all of these."""

HARMLESS = frozenset({"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF"})
DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def check(manifest: Manifest) -> None:
    """Raises `Rejected` for all that a process can not have, or must not be given by a manifest."""
    refuse_all(refusals(manifest))


def refusals(manifest: Manifest) -> Iterator[Rejected]:
    """The same, one by one."""
    for variable in manifest.env:
        if variable.config_map is not None:
            yield _unsupported(f"the variable {variable.name} comes from a config map")
        if _is_ours(variable.name):
            yield Rejected(
                "invalid_environment",
                f"a manifest can not set {variable.name} of a local process",
                remedy=f"leave {variable.name} out of env, or have MLLM_ENGINES set it",
            )
    for volume in manifest.volumes:
        if volume.claim or volume.config_map or volume.secret:
            yield _unsupported(f"the volume {volume.name} is to be mounted")


def _is_ours(name: str) -> bool:
    """Whether it decides what code runs, what that may reach, or anything else of the driver's."""
    upper = name.upper()
    if upper in HARMLESS:
        return False
    return (
        upper in FORBIDDEN
        or upper.startswith(FORBIDDEN_FAMILIES)
        or FORBIDDEN_PARTS.search(upper) is not None
    )


async def declared(manifest: Manifest, namespace: str, secrets: Secrets) -> Mapping[str, str]:
    """The manifest's variables with their values. Raises `Rejected`."""
    check(manifest)
    return {variable.name: await _value(variable, namespace, secrets) for variable in manifest.env}


def environment(
    place: Place, facts: Facts, own: Mapping[str, str], key: Mapping[str, str]
) -> dict[str, str]:
    """All of it. `own` are the manifest's variables; `key` those that tell what to ask for."""
    devices = {name: ",".join(facts.devices) for name in DEVICES} if facts.devices else {}
    ours = {MARKER: place.marker, FACTS: msgspec.json.encode(facts).decode()}
    return {**inherited(os.environ), **OFFLINE, **devices, **own, **key, **ours}


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith(INHERITED_FAMILIES)
    }


async def _value(variable: EnvVar, namespace: str, secrets: Secrets) -> str:
    if variable.secret is None:
        return variable.value
    value = await secrets.get(namespace, variable.secret.name)
    if "\0" in value:
        text = f"the secret {variable.secret.name} can be no variable: it holds a zero byte"
        raise Rejected("invalid_environment", text, remedy="set it to text")
    return value


def _unsupported(what: str) -> Rejected:
    return Rejected(
        "unsupported_by_runtime",
        f"{what}, which only a cluster has",
        remedy="give the value itself or a secret, or serve it with MLLM_RUNTIME=kserve",
    )
