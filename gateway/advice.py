"""HTTP for advice: cards, what they are good for, and what vLLM knows."""

from bisect import bisect_right
from collections.abc import Sequence
from types import MappingProxyType
from typing import Annotated, TypeAlias

from litestar import Controller, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, JSONBody, PathParameter, QueryParameter, SkipValidation
from msgspec.structs import replace

from gateway.admission import needs
from gateway.caller import From
from gateway.parameters import Cursor, Limit, Text
from gateway.ports import Handed, Ports
from schemas.advice import (
    Advisor,
    Compatibility,
    GpuProfile,
    Kind,
    ModelInfo,
    Recommendation,
    Serving,
)
from schemas.api.advice import (
    GPU_TYPE,
    ArchitectureInfo,
    ModelAdvice,
    ModelInfoBody,
    SupportedModels,
)
from schemas.api.problem import Page
from schemas.facts import Facts
from schemas.manifest import LINE, Dtype, KvCacheDtype
from schemas.message import Rejected
from schemas.names import END, TARGET

GpuPath: TypeAlias = Annotated[
    str,
    PathParameter(
        name="gpuType",
        pattern=f"^/?{GPU_TYPE}",
        description="A card's type, name, or what nodes call it: it may hold slashes.",
    ),
]
ArchitecturePath: TypeAlias = Annotated[
    str,
    PathParameter(pattern=r"^[A-Za-z0-9_]{1,200}$" + END, description="As in config.json."),
]


WeightsTarget: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        pattern=TARGET + END,
        max_length=193,
        description="Installed weights: say how they would do on such cards, too.",
    ),
]
GgufFile: TypeAlias = Annotated[
    str | None,
    QueryParameter(pattern=LINE, max_length=200, description="Which of several GGUF models."),
]
Gpus: TypeAlias = Annotated[
    int | None, QueryParameter(ge=1, le=1024, description="As few as will do, unless said.")
]
Context: TypeAlias = Annotated[
    int | None, QueryParameter(ge=1, le=100_000_000, description="Tokens of a sequence.")
]
Batch: TypeAlias = Annotated[
    int | None, QueryParameter(ge=1, le=100_000, description="Sequences at once.")
]
CacheDtype: TypeAlias = Annotated[KvCacheDtype | None, QueryParameter(name="kvCacheDtype")]


async def provide_serving(
    gpus: Gpus = None,
    context: Context = None,
    batch: Batch = None,
    dtype: FromQuery[Dtype | None] = None,
    kv_cache_dtype: CacheDtype = None,
) -> Serving:
    return Serving(
        gpus=gpus or 0,
        context=context or 0,
        batch=batch or 1,
        dtype=dtype or "auto",
        kv_cache_dtype=kv_cache_dtype or "auto",
    )


Asked: TypeAlias = NamedDependency[SkipValidation[Serving]]
"""How a model is to be served, as the query says; what it does not say is left to us."""


class Recommendations(Controller):
    path = "/recommendations"
    tags = ("advice",)
    dependencies = MappingProxyType({"serving": Provide(provide_serving)})

    @get("/profiles", opt=needs("read"))
    async def profiles(self, ports: Handed) -> Page[GpuProfile]:
        """List the kinds of cards that are known, those of our own nodes first, on one page."""
        return Page(tuple(await ports.advisor.profiles()))

    @get("/{gpuType:path}", opt=needs("read"))
    async def recommend(
        self,
        gpu_type: GpuPath,
        caller: From,
        ports: Handed,
        serving: Asked,
        weights: WeightsTarget = None,
        file: GgufFile = None,
    ) -> Recommendation:
        """Say what a kind of card holds, and what to tell an engine that runs on it."""
        gpu_type = gpu_type.removeprefix("/")  # which the rest of a path begins with
        recommended = await ports.advisor.recommend(gpu_type)
        if weights is None:
            return recommended
        facts = await _facts(ports, caller.namespace, weights, file or "")
        model = await ports.advisor.compatibility(facts, gpu_type, serving)
        return replace(recommended, model=model)


async def _facts(ports: Ports, namespace: str, target: str, file: str) -> Facts:
    holding = await ports.holdings(namespace, target)
    if holding is None:
        raise Rejected("not_found", f"no weights are installed as {target}")
    return holding.facts_of(file) or Facts()


class Vllm(Controller):
    path = "/vllm"
    tags = ("advice",)

    @get("/supported-models", opt=needs("read"))
    async def supported(
        self,
        ports: Handed,
        kind: FromQuery[Kind | None] = None,
        q: Text = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> SupportedModels:
        """List the architectures that vLLM knows, by name. `q` is in the name or its models'."""
        registry = await ports.advisor.supported_models()
        word = (q or "").lower()
        found = [
            one
            for one in registry.architectures
            if kind in (None, one.kind) and word in f"{one.name} {one.models}".lower()
        ]
        start = bisect_right([one.name for one in found], cursor or "")
        page = tuple(found[start : start + limit])
        more = start + limit < len(found)
        return SupportedModels(
            page, registry.source, registry.as_of, page[-1].name if more else None
        )

    @get("/model/{architecture:str}", opt=needs("read"))
    async def architecture(self, architecture: ArchitecturePath, ports: Handed) -> ArchitectureInfo:
        """Say what vLLM knows of an architecture."""
        registry = await ports.advisor.supported_models()
        found = await ports.advisor.architecture(architecture)
        return ArchitectureInfo(found, registry.source, registry.as_of)

    @post("/model-info", opt=needs("read"), status_code=200)
    async def model_info(
        self, caller: From, ports: Handed, data: JSONBody[ModelInfoBody]
    ) -> ModelAdvice:
        """Read the headers of a repository's files: what it is, and on which cards it fits."""
        token = ""
        caller.refuse_secret(data.token_secret)
        if data.token_secret:
            token = await ports.secrets.get(caller.namespace, data.token_secret)
        info = await ports.advisor.model_info(data.hf_model_id, data.revision, token, data.file)
        return await _advised(ports.advisor, info, data)


async def _advised(advisor: Advisor, info: ModelInfo, data: ModelInfoBody) -> ModelAdvice:
    types = [data.gpu_type] if data.gpu_type else [gpu.type for gpu in await advisor.profiles()]
    return ModelAdvice(info, await compared(advisor, info.facts, types, data.serving()))


async def compared(
    advisor: Advisor, facts: Facts, gpu_types: Sequence[str], serving: Serving
) -> tuple[Compatibility, ...]:
    """A model on several kinds of cards. Raises `Rejected` with `not_found`."""
    return tuple([await advisor.compatibility(facts, one, serving) for one in gpu_types])
