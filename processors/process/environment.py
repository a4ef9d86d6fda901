"""What a server finds in its environment: little of ours, none of our secrets, and its own."""

import os
from collections.abc import Mapping

import msgspec

from processors.process.holding import MARKER, Facts
from processors.process.launch import FACTS
from processors.process.places import Place
from schemas.manifest import EnvVar, Manifest
from schemas.message import Rejected
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
FORBIDDEN = frozenset({"PATH", "HOME", "ENV", "BASH_ENV", "IFS", "GCONV_PATH", "GLIBC_TUNABLES"})
FORBIDDEN_FAMILIES = ("LD_", "DYLD_", "PYTHON", "MLLM_")
DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def check(manifest: Manifest) -> None:
    """Raises `Rejected` for what a process can not have, or must not be given by a manifest."""
    for variable in manifest.env:
        if variable.config_map is not None:
            raise _unsupported(f"the variable {variable.name} comes from a config map")
        if variable.name in FORBIDDEN or variable.name.startswith(FORBIDDEN_FAMILIES):
            raise Rejected(
                "invalid_environment",
                f"a manifest can not set {variable.name} of a local process",
                remedy=f"leave {variable.name} out of env",
            )
    for volume in manifest.volumes:
        if volume.claim or volume.config_map or volume.secret:
            raise _unsupported(f"the volume {volume.name} is to be mounted")


async def declared(manifest: Manifest, namespace: str, secrets: Secrets) -> Mapping[str, str]:
    """The manifest's variables with their values. Raises `Rejected`."""
    check(manifest)
    return {variable.name: await _value(variable, namespace, secrets) for variable in manifest.env}


def environment(place: Place, facts: Facts, own: Mapping[str, str]) -> dict[str, str]:
    """All of it. `own` are the manifest's variables."""
    devices = {name: ",".join(facts.devices) for name in DEVICES} if facts.devices else {}
    ours = {MARKER: place.marker, FACTS: msgspec.json.encode(facts).decode()}
    return {**inherited(os.environ), **OFFLINE, **devices, **own, **ours}


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith(INHERITED_FAMILIES)
    }


async def _value(variable: EnvVar, namespace: str, secrets: Secrets) -> str:
    if variable.secret is None:
        return variable.value
    return await secrets.get(namespace, variable.secret.name)


def _unsupported(what: str) -> Rejected:
    return Rejected(
        "unsupported_by_runtime",
        f"{what}, which only a cluster has",
        remedy="give the value itself or a secret, or serve it with MLLM_RUNTIME=kserve",
    )
