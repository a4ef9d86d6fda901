"""A model's manifest: which weights, on which engine, with what arguments, resources and limits.

This is the form in which a manifest is kept. It tolerates fields it does not know, as everything
stored does; whoever reads what people wrote (`schemas/manifest_reading.py`) is strict.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from schemas.message import Value
from schemas.names import (
    END,
    MaybeEngine,
    MaybeRepo,
    MaybeTarget,
    ModelId,
    Revision,
)

MAX_MANIFEST_BYTES = 128 * 1024
"""Of JSON: one commit holds a manifest and what is said around it, and so does an activation's."""

KUBE_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$" + END
QUANTITY = r"^([0-9]{1,12}(\.[0-9]{1,6})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?)?$" + END
ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$" + END
KEY = r"^[A-Za-z0-9._-]{0,253}$" + END
LABEL_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
LABEL_KEY = rf"^([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{LABEL_NAME}$" + END
LABEL_VALUE = rf"^({LABEL_NAME})?$" + END
ABSOLUTE_PATH = r"^/[^\x00-\x1f\x7f]{0,1000}$" + END
LINE = r"^[^\x00-\x1f\x7f]*$" + END
TEXT = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"

KubeName = Annotated[str, Meta(pattern=KUBE_NAME, max_length=253)]
Quantity = Annotated[str, Meta(pattern=QUANTITY, max_length=24)]
Key = Annotated[str, Meta(pattern=KEY, max_length=253)]
EnvName = Annotated[str, Meta(pattern=ENV_NAME, max_length=128)]
LabelKey = Annotated[str, Meta(pattern=LABEL_KEY, max_length=317)]
LabelValue = Annotated[str, Meta(pattern=LABEL_VALUE, max_length=63)]
MountPath = Annotated[str, Meta(pattern=ABSOLUTE_PATH, max_length=1001)]
Line = Annotated[str, Meta(pattern=LINE, max_length=200)]
Argument = Annotated[str, Meta(pattern=LINE, min_length=1, max_length=500)]
Text = Annotated[str, Meta(pattern=TEXT, max_length=4000)]
Parallel = Annotated[int, Meta(ge=1, le=1024)]

Dtype: TypeAlias = Literal["auto", "float16", "bfloat16", "float32"]
KvCacheDtype: TypeAlias = Literal["auto", "float16", "bfloat16", "fp8", "q8_0", "q4_0"]
Effect: TypeAlias = Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"]


class WeightsSource(Value):
    """Installed weights, by `target` or by the repository they came from: one of the two.

    `file` picks one of several GGUF files.
    """

    target: MaybeTarget = ""
    repo: MaybeRepo = ""
    revision: Revision = "main"
    file: Line = ""

    @property
    def name(self) -> str:
        """The target: that of a repository is, unless said, its own name."""
        return self.target or self.repo


class EngineArguments(Value):
    """What engines are told. `gpu_memory_utilization` is a share of each card's memory;
    `gpu_layers` and `threads` mean something to llama.cpp alone."""

    tensor_parallel_size: Parallel = 1
    pipeline_parallel_size: Parallel = 1
    dtype: Dtype = "auto"
    kv_cache_dtype: KvCacheDtype = "auto"
    quantization: Line = ""
    max_model_len: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    max_num_seqs: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] | None = None
    gpu_layers: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    threads: Annotated[int, Meta(ge=1, le=4096)] | None = None
    trust_remote_code: bool = False
    extra: Annotated[tuple[Argument, ...], Meta(max_length=100)] = ()


class SecretKey(Value):
    """A secret by name; `key` is which of its entries, on a cluster."""

    name: KubeName
    key: Key = ""


class ConfigMapKey(Value):
    name: KubeName
    key: Key


class EnvVar(Value):
    """A variable of the engine's environment: a value, or where it comes from; one of the three."""

    name: EnvName
    value: Text = ""
    secret: SecretKey | None = None
    config_map: ConfigMapKey | None = None


class Resources(Value):
    """For each replica, in Kubernetes quantities. `gpu_resource` is what a cluster calls them."""

    cpu: Quantity = ""
    memory: Quantity = ""
    gpus: Annotated[int, Meta(ge=0, le=1024)] = 0
    gpu_resource: LabelKey = "nvidia.com/gpu"


class Toleration(Value):
    key: Annotated[str, Meta(max_length=317, pattern=LINE)] = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: LabelValue = ""
    effect: Effect = ""
    toleration_seconds: int | None = None


class Volume(Value):
    """Something mounted beside the weights: a claim, a config map, a secret, or empty memory."""

    name: KubeName
    mount_path: MountPath
    claim: KubeName | None = None
    config_map: KubeName | None = None
    secret: KubeName | None = None
    memory: Quantity = ""
    read_only: bool = False


class Replicas(Value):
    min: Annotated[int, Meta(ge=0, le=1000)] = 1
    max: Annotated[int, Meta(ge=1, le=1000)] = 1


class Manifest(Value):
    """Everything there is to say about a model. An empty `runtime` is chosen by the weights."""

    id: ModelId
    weights: WeightsSource
    display_name: Line = ""
    runtime: MaybeEngine = ""
    engine: EngineArguments = EngineArguments()
    env: Annotated[tuple[EnvVar, ...], Meta(max_length=100)] = ()
    resources: Resources = Resources()
    node_selector: Mapping[LabelKey, LabelValue] = {}
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=50)] = ()
    volumes: Annotated[tuple[Volume, ...], Meta(max_length=50)] = ()
    replicas: Replicas = Replicas()
    labels: Mapping[LabelKey, LabelValue] = {}
    description: Text = ""
    license: Line = ""
    aliases: Annotated[tuple[ModelId, ...], Meta(max_length=20)] = ()
