"""Advice as the API asks for and shows it."""

from typing import Annotated

from msgspec import Meta

from schemas.advice import Architecture, Compatibility, ModelInfo, Serving
from schemas.manifest import Dtype, KvCacheDtype, Line
from schemas.message import Value
from schemas.names import Repo, Revision, SecretName

GPU_TYPE = r"[A-Za-z0-9][A-Za-z0-9 ._+()/-]{0,99}$(?!\n)"
"""How a pattern of a card's type, name or alias goes on from its begin."""

GpuType = Annotated[str, Meta(pattern=f"^{GPU_TYPE}", max_length=100)]


class ModelInfoBody(Value, forbid_unknown_fields=True):
    """Which repository of the Hub to look at, and for which card and how to say whether it fits.

    Without `gpuType` it is said of every kind of card. Without `gpus`, of as few as will do.
    `file` picks one of several GGUF models.
    """

    hf_model_id: Repo
    revision: Revision = "main"
    token_secret: SecretName | None = None
    gpu_type: GpuType | None = None
    gpus: Annotated[int, Meta(ge=1, le=1024)] | None = None
    context: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    batch: Annotated[int, Meta(ge=1, le=100_000)] = 1
    dtype: Dtype = "auto"
    kv_cache_dtype: KvCacheDtype = "auto"
    file: Line = ""

    def serving(self) -> Serving:
        return Serving(
            gpus=self.gpus or 0,
            context=self.context or 0,
            batch=self.batch,
            dtype=self.dtype,
            kv_cache_dtype=self.kv_cache_dtype,
        )


class ModelAdvice(Value):
    """What a repository holds, and how it would do on each card that was asked about."""

    model: ModelInfo
    compatibility: tuple[Compatibility, ...]


class SupportedModels(Value):
    """One page of the architectures that `source` knew on the day `as_of`."""

    items: tuple[Architecture, ...]
    source: str
    as_of: str
    next_cursor: str | None = None


class ArchitectureInfo(Value):
    architecture: Architecture
    source: str
    as_of: str
