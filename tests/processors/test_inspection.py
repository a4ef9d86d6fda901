"""What the checks of a manifest say to do, about a world that has what a test says."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from processors.inspection import Inspection
from schemas.checks import Capacity, Check, Holder
from schemas.manifest import Manifest, Resources, WeightsSource
from schemas.weights import Holding
from schemas.workloads import Node
from tests.gateway.worlds import Advice

WANTS_TWO = Manifest("m", WeightsSource("org/m"), resources=Resources(gpus=2))


class World:
    """The `World` of an inspection that has everything, but for GPUs."""

    def __init__(self, *holders: Holder) -> None:
        self._holders = holders

    async def storage(self, there: Holding, namespace: str) -> str:
        return "readable"

    async def secrets(self, manifest: Manifest, namespace: str) -> str:
        return "asks for none"

    async def config_maps(self, manifest: Manifest, namespace: str) -> str:
        return "asks for none"

    async def engine(self, manifest: Manifest, namespace: str) -> str:
        return "it serves it"

    async def capacity(self, manifest: Manifest, namespace: str, slot: str) -> Capacity:
        held = [one for one in self._holders if one.slot != slot or not slot]
        free = 4 - sum(one.gpus for one in held)
        return Capacity(manifest.resources.gpus, free, 4, tuple(held))

    async def nodes(self) -> Sequence[Node]:
        return []


async def holding(namespace: str, target: str) -> Holding | None:
    return Holding(target, "s1", "org/m", "main", "c0ffee", "k1", 1, 1, datetime.now(UTC))


async def gpus(world: World, slot: str = "") -> Check:
    checks = await Inspection(holding, Advice(), world).check(WANTS_TWO, "default", slot=slot)
    return next(check for check in checks if check.name == "gpus")


ALICE, BOB = Holder("alice-0", 3, "alice", "llama"), Holder("bob-0", 1, "bob", "tiny")
STRANGER = Holder("another namespace", 4)


@pytest.mark.parametrize(
    ("world", "slot", "remedy"),
    [
        (World(BOB, ALICE), "", "take the place of what is in alice (--preempt)"),
        (World(BOB, STRANGER), "", "or ask for fewer"),
        (World(STRANGER, BOB), "bob", "or ask for fewer"),
    ],
)
async def test_taking_a_place_is_advised_only_where_it_frees_gpus_enough(
    world: World, slot: str, remedy: str
) -> None:
    check = await gpus(world, slot)

    assert check.outcome == "fail"
    assert check.remedy.endswith(remedy)
