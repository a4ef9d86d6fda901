"""What must hold between the fields of a manifest, once each of them can be what it is.

Each rule is given the value and which of its fields were said, and tells what is wrong: the field
that it is about, or "" for all of them, and the complaint.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from schemas.manifest import (
    EngineArguments,
    EnvVar,
    Manifest,
    Replicas,
    Toleration,
    Volume,
    WeightsSource,
)

Said: TypeAlias = Collection[str]
Complaint: TypeAlias = tuple[str, str]
Rule: TypeAlias = Callable[[Any, Said], Iterator[Complaint]]

TYPED: Mapping[str, str] = {
    "--tensor-parallel-size": "tensorParallelSize",
    "-tp": "tensorParallelSize",
    "--pipeline-parallel-size": "pipelineParallelSize",
    "-pp": "pipelineParallelSize",
    "--dtype": "dtype",
    "--kv-cache-dtype": "kvCacheDtype",
    "--cache-type-k": "kvCacheDtype",
    "-ctk": "kvCacheDtype",
    "--cache-type-v": "kvCacheDtype",
    "-ctv": "kvCacheDtype",
    "--quantization": "quantization",
    "-q": "quantization",
    "--max-model-len": "maxModelLen",
    "--ctx-size": "maxModelLen",
    "-c": "maxModelLen",
    "--max-num-seqs": "maxNumSeqs",
    "--parallel": "maxNumSeqs",
    "-np": "maxNumSeqs",
    "--gpu-memory-utilization": "gpuMemoryUtilization",
    "--gpu-layers": "gpuLayers",
    "--n-gpu-layers": "gpuLayers",
    "-ngl": "gpuLayers",
    "--threads": "threads",
    "-t": "threads",
    "--trust-remote-code": "trustRemoteCode",
}
"""Flags of the engines that a manifest says with a field of its own."""

OURS = frozenset(
    {
        "--alias", "-a", "--api-key", "--api-key-file", "--api-prefix", "--config", "--hf-file",
        "-hff", "--hf-repo", "-hf", "-hfr", "--host", "--model", "-m", "--model-dir",
        "--model-name", "--model-url", "-mu", "--path", "--port", "--root-path",
        "--served-model-name", "--ssl-cert-file", "--ssl-certfile", "--ssl-key-file",
        "--ssl-keyfile", "--uds",
    }
)  # fmt: skip
"""Flags that say what is served and where: whoever starts the engine says that."""

SHORTENED = ("--trust-remote-code",)
"""Flags that must not come in by an abbreviation either: Python's engines take any that is
unambiguous."""


RESERVED = frozenset({"status"})
"""Ids that would be the address of something else: `/models/status`."""

STAND_INS: Mapping[type, Mapping[str, object]] = {
    EngineArguments: {},
    Manifest: {"id": "0" * 63, "weights": {"target": "any"}},
}
"""Types whose rules hold for each field alone, or for fields that may be left out: they can be told
of what is sound, too, with these in the place of what has to be there."""


def weights_rules(weights: WeightsSource, said: Said) -> Iterator[Complaint]:
    if bool(weights.target) == bool(weights.repo):
        both = ", not both" if weights.repo else ""
        yield "", f"either target or repo has to be given{both}"
    if weights.target and "revision" in said and weights.revision != "main":
        yield "revision", "only a repo has revisions; installed weights are what they are"
    if weights.file.startswith("/") or ".." in weights.file.split("/"):
        yield "file", "has to be a path within the weights"


def env_rules(variable: EnvVar, said: Said) -> Iterator[Complaint]:
    sources = [variable.value != "", variable.secret is not None, variable.config_map is not None]
    if sum(sources) > 1:
        yield "", "only one of value, secret and configMap can be given"
    elif not any(sources) and "value" not in said:
        yield "", "one of value, secret and configMap has to be given"


def volume_rules(volume: Volume, said: Said) -> Iterator[Complaint]:
    sources = (volume.claim, volume.config_map, volume.secret, volume.memory)
    if sum(bool(source) for source in sources) != 1:
        yield "", "exactly one of claim, configMap, secret and memory has to be given"
    if _place(volume.mount_path) == "" or ".." in volume.mount_path.split("/"):
        yield "mountPath", "has to be a path below /, without any .."


def replicas_rules(replicas: Replicas, said: Said) -> Iterator[Complaint]:
    if replicas.min > replicas.max:
        yield "", f"min is {replicas.min} and max {replicas.max}: there is nothing between"


def toleration_rules(toleration: Toleration, said: Said) -> Iterator[Complaint]:
    if toleration.operator == "Exists" and toleration.value:
        yield "value", "says nothing with the operator Exists"
    if toleration.operator == "Equal" and not toleration.key:
        yield "key", "has to be given, unless the operator is Exists"
    if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
        yield "tolerationSeconds", "says something with the effect NoExecute alone"


def engine_rules(engine: EngineArguments, said: Said) -> Iterator[Complaint]:
    for index, argument in enumerate(engine.extra):
        if complaint := _about_argument(argument):
            yield f"extra[{index}]", complaint


def _about_argument(argument: str) -> str:
    """What is wrong with one more argument; nothing for values."""
    word = argument.partition("=")[0]
    if not word.startswith("-") or _is_number(word):
        return ""
    if any(character.isspace() for character in word):
        return "a flag and its value are two entries"
    flag = word.replace("_", "-") if word.startswith("--") else word
    flag = flag.replace("--no-", "--", 1) if flag.startswith("--no-") else flag
    if flag.startswith("--tr") and any(hidden.startswith(flag) for hidden in SHORTENED):
        return f"{word} is engine.trustRemoteCode: say it there, where it can be seen"
    if field := TYPED.get(flag):
        return f"{word} is engine.{field}: say it there"
    return f"{word} is not a manifest's to say" if flag in OURS else ""


def _is_number(word: str) -> bool:
    return word[1:2].isdigit()


def manifest_rules(manifest: Manifest, said: Said) -> Iterator[Complaint]:
    yield from _repeated("env", "name", (variable.name for variable in manifest.env))
    yield from _repeated("volumes", "name", (volume.name for volume in manifest.volumes))
    places = (_place(volume.mount_path) for volume in manifest.volumes)
    yield from _repeated("volumes", "mountPath", places)
    for alias in _twice(manifest.aliases):
        yield "aliases", f"{alias} is there more than once"
    if manifest.id in manifest.aliases:
        yield "aliases", f"{manifest.id} is the model's own id"
    if manifest.id in RESERVED:
        yield "id", f"{manifest.id} is what the list of models itself answers to"


def _repeated(field: str, name: str, values: Iterable[str]) -> Iterator[Complaint]:
    for value in _twice(values):
        yield field, f"more than one has the {name} {value}"


def _twice(values: Iterable[str]) -> list[str]:
    return [value for value, count in Counter(values).items() if count > 1]


def _place(path: str) -> str:
    """A path in its one form: `/a//b/` is `/a/b`, and `/` is nothing."""
    return "".join(f"/{part}" for part in path.split("/") if part not in ("", "."))


RULES: Mapping[type, Rule] = {
    WeightsSource: weights_rules,
    EnvVar: env_rules,
    Volume: volume_rules,
    Replicas: replicas_rules,
    Toleration: toleration_rules,
    EngineArguments: engine_rules,
    Manifest: manifest_rules,
}
