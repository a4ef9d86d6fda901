"""Models that are wanted somewhere."""

from ulid import ULID

from processors.driver import Instance, Present
from processors.kserve.service import name
from schemas.manifest import EngineArguments, Manifest, Resources, WeightsSource
from schemas.runtime import Place, Served

SLOT = "active-llm"


def manifest(model: str = "llama", gpus: int = 1, **more: object) -> Manifest:
    return Manifest(
        id=model,
        weights=WeightsSource(target="org/model"),
        runtime="vllm",
        engine=EngineArguments(tensor_parallel_size=2, max_model_len=4096),
        resources=Resources(cpu="4", memory="16Gi", gpus=gpus),
        **more,  # type: ignore[arg-type]  # each test names a field or two of it
    )


def instance(
    model: str = "llama", place: Place = "a", *, settled: bool = False, slot: str = SLOT
) -> Instance:
    """A new activation, which there never was before."""
    said = manifest(model)
    served = Served(str(ULID()), model, 7, said, "org/model", "default", place)
    return Instance("default", slot, served, settled=settled)


def object_name(wanted: Instance) -> str:
    return name(wanted.namespace, wanted.slot, wanted.served.place)


def present(wanted: Instance) -> Present:
    return Present(wanted.namespace, wanted.slot, wanted.served.id)
