"""What is seen of an instance that does not come up, and in whose words."""

from collections.abc import Awaitable, Callable

import pytest

from processors.driver import Sight
from tests.kube.conftest import World
from tests.kube.hand import CONTAINER, STORAGE, container
from tests.kube.instances import SLOT, instance

Happen = Callable[[World], Awaitable[None]]


async def seen_after(world: World, happen: Happen, gpus: int = 0) -> Sight:
    """How an instance with one pod looks, once something has happened to that."""
    wanted = instance()
    await world.driver.ensure(wanted)
    await world.hand.pod("pod", SLOT, wanted.served.id, gpus)
    await happen(world)
    return await world.driver.ensure(wanted)


async def unschedulable(world: World) -> None:
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    }
    await world.hand.pod_status("pod", phase="Pending", conditions=[condition])


async def crashing(world: World) -> None:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    said = container(restarts=4, waiting=waiting, last=ended)
    await world.hand.pod_status("pod", containerStatuses=[said])


async def without_image(world: World) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "example.com/x"'}
    said = [container(waiting=waiting)]
    await world.hand.pod_status("pod", phase="Pending", containerStatuses=said)


async def without_weights(world: World) -> None:
    ended = {"exitCode": 1, "reason": "Error", "message": "no such directory"}
    said = [container(STORAGE, terminated=ended)]
    await world.hand.pod_status("pod", phase="Pending", initContainerStatuses=said)


async def over_quota(world: World) -> None:
    message = 'pods "active-llm-predictor-x" is forbidden: exceeded quota: gpus'
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}
    await world.hand.deployment(SLOT, [{**condition, "message": message}])


async def evicted(world: World) -> None:
    await world.hand.pod_status(
        "pod", phase="Failed", reason="Evicted", message="The node was low on memory"
    )


@pytest.mark.parametrize(
    ("happen", "words"),
    [
        (unschedulable, ["Unschedulable", "3 Insufficient nvidia.com/gpu"]),
        (crashing, ["CrashLoopBackOff", "code 137", "OOMKilled"]),
        (without_image, ["ImagePullBackOff", "example.com/x"]),
        (without_weights, [STORAGE, "code 1", "no such directory"]),
        (over_quota, ["FailedCreate", "exceeded quota: gpus"]),
        (evicted, ["Evicted", "low on memory"]),
    ],
)
async def test_why_it_does_not_come_up_is_said(
    world: World, happen: Happen, words: list[str]
) -> None:
    sight = await seen_after(world, happen)

    assert sight.status.health == "failed"
    assert [word for word in words if word not in sight.status.message] == []
    assert sight.code == "", "somebody may put it right"


async def test_what_init_containers_do_is_progress(world: World) -> None:
    async def fetching(world: World) -> None:
        said = [container(STORAGE, running={"startedAt": "2026-01-01T00:00:00Z"})]
        await world.hand.pod_status("pod", phase="Pending", initContainerStatuses=said)

    sight = await seen_after(world, fetching)

    [pod] = sight.status.pods
    [init] = pod.containers
    assert (sight.status.health, sight.status.message) == (
        "starting",
        f"{STORAGE} is at work (1 of 1)",
    )
    assert (init.name, init.init, init.state) == (STORAGE, True, "running")


async def test_an_engine_that_runs_and_does_not_answer_yet_is_loading(world: World) -> None:
    async def running(world: World) -> None:
        await world.hand.pod_status("pod", containerStatuses=[container(running={})])

    sight = await seen_after(world, running, gpus=2)

    [pod] = sight.status.pods
    assert sight.status.health == "loading"
    assert (pod.name, pod.gpus, pod.ready) == ("pod", 2, False)
    assert [one.name for one in pod.containers] == [CONTAINER]


async def test_what_serves_with_fewer_pods_than_wanted_is_degraded(world: World) -> None:
    async def crashing_beside(world: World) -> None:
        wanted = (await world.driver.present())[0].activation
        await world.hand.pod("other", SLOT, wanted)
        await world.hand.pod_status("other", ready=True)
        await crashing(world)
        await world.hand.report(SLOT, observed=1)

    sight = await seen_after(world, crashing_beside)

    assert sight.status.health == "degraded"
    assert sight.url
    assert sight.status.replicas_ready == 1
    assert "CrashLoopBackOff" in sight.status.message


async def test_a_specification_that_kserve_can_not_serve_is_hopeless(world: World) -> None:
    async def unsupported(world: World) -> None:
        info = {"reason": "NoSupportingRuntime", "message": "no runtime for huggingface"}
        model = {"transitionStatus": "InvalidSpec", "lastFailureInfo": info}
        await world.hand.report(SLOT, observed=1, ready="False", modelStatus=model)

    sight = await seen_after(world, unsupported)

    assert sight.code == "invalid"
    assert "no runtime for huggingface" in sight.status.message
