"""What a machine tells of itself to whoever wants to serve there."""

from pathlib import Path

from msgspec.structs import replace

from processors.process.world import ELSEWHERE, ProcessWorld
from schemas.checks import Holder
from schemas.manifest import Resources
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
