"""What a machine tells of itself to whoever wants to serve there."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from processors.inspection import Warned
from processors.process.world import ELSEWHERE, ProcessWorld
from schemas.checks import Holder
from schemas.manifest import EngineArguments, Resources
from schemas.manifest_reading import read_manifest
from schemas.message import Rejected
from tests.processors.process.rig import Machine, instance, machine


def world(here: Machine) -> ProcessWorld:
    return ProcessWorld(here.data, here.store, here.recipes, here.secrets)


async def holders(here: Machine, namespace: str) -> tuple[Holder, ...]:
    manifest = instance().served.manifest
    return (await world(here).capacity(manifest, namespace, "another")).holders


async def test_who_holds_cards_is_told_within_a_tenant_only(tmp_path: Path) -> None:
    async with machine(tmp_path) as here:
        wanted = instance()
        manifest = replace(wanted.served.manifest, resources=Resources(gpus=2))
        await here.serves(replace(wanted, served=replace(wanted.served, manifest=manifest)))

        assert await holders(here, "default") == (
            Holder("active-llm-abcdef", 2, "active-llm", "tiny"),
        )
        assert await holders(here, "team") == (Holder(ELSEWHERE, 2),)


async def test_all_that_keeps_an_engine_from_serving_a_manifest_is_told_at_once(
    tmp_path: Path,
) -> None:
    async with machine(tmp_path) as here:
        engine = EngineArguments(extra=("--x",))
        wanted = instance(env={"LD_PRELOAD": "x", "PYTHONPATH": "y"}, engine=engine)

        with pytest.raises(Rejected) as raised:
            await world(here).engine(wanted.served.manifest, None, "default")

    for words in ("LD_PRELOAD", "PYTHONPATH", "takes no extra arguments"):
        assert words in str(raised.value)


@pytest.mark.parametrize(
    ("runtime", "remedy"),
    [
        ("absent", "install mllm-no-such-program, or correct MLLM_ENGINES"),
        ("llamacpp", "install some that do, or name another engine: runtime"),
    ],
)
async def test_what_can_not_serve_here_comes_with_what_to_do_about_it(
    tmp_path: Path, runtime: str, remedy: str
) -> None:
    async with machine(tmp_path) as here:
        with pytest.raises(Rejected) as refused:
            await world(here).engine(instance(runtime=runtime).served.manifest, None, "default")

    assert refused.value.details["remedy"] == remedy


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"nodeSelector": {"zone": "a"}}, "nodeSelector"),
        ({"tolerations": [{"key": "gpu"}]}, "tolerations"),
        ({"resources": {"cpu": "2"}}, "resources.cpu"),
        ({"resources": {"memory": "4Gi"}}, "resources.memory"),
        ({"volumes": [{"name": "v", "mountPath": "/v", "memory": "1Gi"}]}, "volumes (memory)"),
        ({"replicas": {"min": 2, "max": 3}}, "replicas.min"),
    ],
)
async def test_a_field_that_a_process_does_not_honour_is_warned_of(
    tmp_path: Path, said: dict[str, object], field: str
) -> None:
    usual = {"id": "tiny", "weights": {"target": "tiny"}, "runtime": "fake"}
    async with machine(tmp_path) as here:
        with pytest.raises(Warned, match=r"fake serves it; .* is not honoured: ") as warned:
            await world(here).engine(read_manifest(usual | said), None, "default")

        assert str(warned.value).endswith(f": {field}")
        assert await world(here).engine(read_manifest(usual), None, "default") == "fake serves it"
