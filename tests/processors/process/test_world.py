"""What a machine tells of itself to whoever wants to serve there."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from processors.process.world import ELSEWHERE, ProcessWorld
from schemas.checks import Holder
from schemas.manifest import EngineArguments, Resources
from schemas.message import Rejected
from tests.processors.process.rig import Machine, instance, machine


async def holders(here: Machine, namespace: str) -> tuple[Holder, ...]:
    world = ProcessWorld(here.data, here.store, here.recipes, here.secrets)
    manifest = instance().served.manifest
    return (await world.capacity(manifest, namespace, "another")).holders


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
        world = ProcessWorld(here.data, here.store, here.recipes, here.secrets)
        engine = EngineArguments(extra=("--x",))
        wanted = instance(env={"LD_PRELOAD": "x", "PYTHONPATH": "y"}, engine=engine)

        with pytest.raises(Rejected) as raised:
            await world.engine(wanted.served.manifest, "default")

    for words in ("LD_PRELOAD", "PYTHONPATH", "takes no extra arguments"):
        assert words in str(raised.value)
