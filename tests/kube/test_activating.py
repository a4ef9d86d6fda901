"""Activations on a cluster, start to finish: what the log wants is what the cluster gets."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from processors.kserve.driver import KServeDriver
from schemas.status import StatusUpdated
from tests.kube.conftest import OwnWorld, World
from tests.kube.hand import container
from tests.kube.plain import Json
from tests.processors.stage import SLOT, Stage, running
from tests.support import eventually

GREEN = f"{SLOT}-b"


async def object_of(world: World, name: str, model: str) -> Json:
    """The InferenceService of that name, once it is this model's."""
    found: list[Json] = []

    async def there() -> bool:
        said = await world.hand.get(name)
        if said is None or said["metadata"]["annotations"]["model-manager/model-id"] != model:
            return False
        found.append(said)
        return True

    await eventually(there)
    return found[-1]


async def comes_up(world: World, name: str, model: str) -> None:
    """KServe brings the model up, as its controller would say."""
    said = await object_of(world, name, model)
    await world.hand.report(name, said["metadata"]["generation"], modelStatus=None)


async def refused(world: World, name: str, model: str) -> None:
    """KServe can not serve the model, as its controller would say."""
    generation = (await object_of(world, name, model))["metadata"]["generation"]
    info = {"reason": "NoSupportingRuntime", "message": "no runtime for huggingface"}
    status = {"transitionStatus": "InvalidSpec", "lastFailureInfo": info}
    await world.hand.report(name, generation, ready="False", modelStatus=status)


async def gone(world: World, name: str) -> None:
    async def away() -> bool:
        return await world.hand.get(name) is None

    await eventually(away)


@asynccontextmanager
async def serving(
    world: World, tmp_path: Path, model: str, *, correct: bool = False
) -> AsyncGenerator[Stage[KServeDriver]]:
    """An activator, and a model that serves already."""
    async with running(tmp_path, world.driver, correct=correct) as stage:
        await stage.activate(model)
        await comes_up(world, SLOT, model)
        await stage.until_current(model)
        yield stage


async def test_a_model_serves_once_its_own_generation_is_ready(
    world: World, tmp_path: Path
) -> None:
    async with serving(world, tmp_path, "one") as stage:
        assert stage.addresses.said[-1].startswith("http://")


async def test_the_next_takes_over_in_place_and_the_old_readiness_is_not_its_own(
    world: World, tmp_path: Path
) -> None:
    async with serving(world, tmp_path, "one") as stage:
        await stage.activate("two")
        said = await object_of(world, SLOT, "two")
        assert said["status"]["conditions"][-1]["status"] == "True"
        await stage.until_phase("start")
        await asyncio.sleep(0.5)  # time enough to be taken in by what is still said of the first
        assert (await stage.types()).count("model.activation.completed") == 1

        await comes_up(world, SLOT, "two")
        await stage.until_current("two")

        assert await world.hand.get(GREEN) is None


async def test_blue_green_brings_a_second_object_up_and_removes_the_first(
    world: World, tmp_path: Path
) -> None:
    async with serving(world, tmp_path, "one") as stage:
        await stage.activate("two", "blue-green")
        await object_of(world, GREEN, "two")
        assert await world.hand.get(SLOT) is not None
        blue = stage.addresses.said[-1]

        await comes_up(world, GREEN, "two")
        await stage.until_current("two")

        await gone(world, SLOT)
        assert stage.addresses.said[-1] not in ("", blue)
        assert stage.addresses.released == ["one"]


async def test_a_candidate_that_is_refused_by_kserve_leaves_who_serves(
    world: World, tmp_path: Path
) -> None:
    async with serving(world, tmp_path, "one") as stage:
        await stage.activate("two", "blue-green")
        await refused(world, GREEN, "two")

        await stage.until_said("model.activation.rolledback")

        await stage.until_current("one")
        await gone(world, GREEN)
        assert await world.hand.get(SLOT) is not None


async def test_what_made_room_comes_back_when_the_candidate_fails(
    world: World, tmp_path: Path
) -> None:
    async with serving(world, tmp_path, "one") as stage:
        await stage.activate("two", preempt=True)
        await refused(world, SLOT, "two")

        await stage.until_said("model.activation.rolledback")

        await comes_up(world, SLOT, "one")
        await stage.until_current("one")


async def test_what_somebody_deletes_is_said_and_put_right_when_asked(
    world: World, tmp_path: Path
) -> None:
    async with serving(world, tmp_path, "one", correct=True) as stage:
        await world.hand.delete(SLOT)

        await stage.until_said("runtime.drift.detected")

        await object_of(world, SLOT, "one")


async def test_what_somebody_deletes_is_left_so_when_nobody_asked(
    world: World, tmp_path: Path
) -> None:
    async with serving(world, tmp_path, "one") as stage:
        await world.hand.delete(SLOT)

        await stage.until_said("runtime.drift.detected")

        assert await world.hand.get(SLOT) is None


async def test_a_burst_of_a_thousand_changes_is_one_status_a_second_and_the_last_is_right(
    own: OwnWorld, tmp_path: Path
) -> None:
    async with serving(own, tmp_path, "one") as stage:
        current = (await stage.seen()).state.current
        assert current is not None
        await own.hand.pod("one-0", SLOT, current.id)
        for number in range(1000):
            await own.hand.pod_status(
                "one-0", containerStatuses=[container(restarts=number, running={})]
            )
        await own.hand.pod_status(
            "one-0",
            ready=True,
            containerStatuses=[container(ready=True, restarts=1000, running={})],
        )

        async def last_is_right() -> bool:
            [event] = (await stage.history("status"))[-1].events
            assert isinstance(event, StatusUpdated)
            restarts = [one.restarts for pod in event.status.pods for one in pod.containers]
            return restarts == [1000]

        await eventually(last_is_right)
        said = [commit.at for commit in await stage.history("status")]
        assert all((b - a).total_seconds() > 0.9 for a, b in itertools.pairwise(said))
