"""What of models a cluster can serve."""

import pytest
from msgspec.structs import replace

from processors.kserve.cluster import Cluster
from processors.kserve.facts import ClusterFacts
from processors.kserve.world import ClusterWorld
from schemas.facts import Facts
from schemas.manifest import WeightsSource
from schemas.message import Rejected
from tests.processors.kserve.test_service import PLAIN

WORLD = ClusterWorld(ClusterFacts(Cluster()))
TENSORS, GGUF = Facts("safetensors"), Facts("gguf", gguf_files=("a.gguf", "b.gguf"))


@pytest.mark.parametrize(("file", "facts"), [("", GGUF), ("b.gguf", GGUF), ("b.gguf", None)])
async def test_gguf_is_refused_with_what_to_do(file: str, facts: Facts | None) -> None:
    manifest = replace(PLAIN, weights=WeightsSource("org/model", file=file))

    with pytest.raises(Rejected, match="can not be told to serve a GGUF file") as refused:
        await WORLD.engine(manifest, facts, "default")

    assert "safetensors" in str(refused.value.details["remedy"])


@pytest.mark.parametrize("facts", [TENSORS, None])
async def test_what_may_be_tensors_is_served(facts: Facts | None) -> None:
    assert await WORLD.engine(PLAIN, facts, "default") == "KServe serves it"
