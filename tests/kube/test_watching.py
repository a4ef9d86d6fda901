"""How the cluster's changes reach us: soon, coalesced, and through whatever befalls a watch."""

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from processors.driver import DriverUnavailable, Instance
from processors.ending import end
from processors.kserve.cluster import Cluster
from processors.kserve.driver import KServeDriver
from processors.kserve.informer import Informer
from processors.kserve.kinds import INFERENCE_SERVICES as SERVICES
from processors.kserve.kinds import NODES, PODS, Happening, Observed, Pod, Service
from processors.kserve.reading import Wanted
from tests.kube import resources
from tests.kube.conftest import QUICK, OwnWorld, World
from tests.kube.hand import container
from tests.kube.instances import SLOT, instance
from tests.kube.plain import Json
from tests.support import eventually

O = TypeVar("O", bound=Observed)  # noqa: E741
MANY = 5000


class Heard:
    """Slots, as `changes` says them."""

    def __init__(self) -> None:
        self.slots: list[tuple[str, str]] = []

    async def listen(self, driver: KServeDriver) -> None:
        async for slot in driver.changes():
            self.slots.append(slot)

    async def more(self, than: int) -> bool:
        return len(self.slots) > than


@asynccontextmanager
async def heard(driver: KServeDriver) -> AsyncGenerator[Heard]:
    ears = Heard()
    task = asyncio.create_task(ears.listen(driver))
    try:
        yield ears
    finally:
        await end(task)


@asynccontextmanager
async def informed(informer: Informer[O]) -> AsyncGenerator[None]:
    """While the informer runs, from when it is up to date."""
    task = asyncio.create_task(informer.run())
    try:
        await eventually(_when(lambda: informer.fresh))
        yield
    finally:
        await end(task)


def following(cluster: Cluster, after: str = "") -> tuple[Informer[Service], list[str]]:
    """An informer of InferenceServices, and the names of those that changed."""
    changed: list[str] = []
    informer = Informer(
        cluster,
        Wanted(SERVICES, Service),
        lambda seen: changed.append(seen.metadata.name),
        QUICK,
        after,
    )
    return informer, changed


def _when(holds: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return holds()

    return asked


async def test_whatever_happens_to_a_slot_wakes_it(world: World) -> None:
    wanted = instance()
    async with heard(world.driver) as ears:
        await world.driver.ensure(wanted)
        await eventually(lambda: ears.more(0))
        happenings: list[Callable[[], Awaitable[None]]] = [
            partial(world.hand.report, SLOT, 1),
            partial(world.hand.pod, "one", SLOT, wanted.served.id),
            partial(world.hand.pod_status, "one", ready=True),
            partial(world.hand.deployment, SLOT, []),
            partial(world.hand.warn, "active-llm-predictor-x", "FailedMount", "no such claim"),
            partial(world.hand.delete, "one", PODS),
        ]
        for happen in happenings:
            await asyncio.sleep(0.4)  # longer than wake-ups are coalesced: this one is its own
            before = len(ears.slots)
            await happen()
            await eventually(partial(ears.more, before))

    assert set(ears.slots) == {("default", SLOT)}


async def test_what_is_others_wakes_nobody(world: World) -> None:
    async with heard(world.driver) as ears:
        await world.driver.ensure(instance())
        await eventually(lambda: ears.more(0))
        await world.hand.pod("theirs", "their-model")
        await world.hand.pod_status("theirs", ready=True)
        await world.hand.warn("theirs", "FailedMount", "no such claim")
        await world.driver.ensure(instance(slot="last"))
        await eventually(_when(lambda: ("default", "last") in ears.slots))

    assert set(ears.slots) == {("default", SLOT), ("default", "last")}


async def test_a_node_that_does_not_answer_any_more_is_told_of_whoever_is_on_it(
    world: World,
) -> None:
    wanted, node = instance(), f"{world.namespace}-node"
    await world.hand.node(node)
    try:
        async with heard(world.driver) as ears:
            await world.driver.ensure(wanted)
            await world.hand.report(SLOT, observed=1)
            await world.hand.pod("one", SLOT, wanted.served.id, node=node)
            await world.hand.pod_status("one", ready=True)

            async def on_its_node() -> bool:
                said = (await world.driver.ensure(wanted)).status
                return [(pod.node, pod.reason) for pod in said.pods] == [(node, "")]

            await eventually(on_its_node)
            before = len(ears.slots)
            await world.hand.node_status(node, "Unknown", "Kubelet stopped posting node status.")
            await eventually(partial(ears.more, before))

            async def told() -> bool:
                return "NodeNotReady" in (await world.driver.ensure(wanted)).status.message

            await eventually(told)
            said = (await world.driver.ensure(wanted)).status
    finally:
        await world.hand.delete(node, NODES)

    # Controllers, where there are any, come to say that the pods of such a node are not ready.
    assert said.health in ("degraded", "failed")
    assert said.message == f"NodeNotReady: {node}: Kubelet stopped posting node status."
    assert [pod.reason for pod in said.pods] == ["NodeNotReady"]


async def test_a_burst_of_a_thousand_changes_wakes_a_slot_a_few_times_a_second(
    world: World,
) -> None:
    wanted = instance()
    await world.driver.ensure(wanted)
    for pod in range(10):
        await world.hand.pod(f"pod-{pod}", SLOT, wanted.served.id)

    async def restart(pod: int) -> None:
        for count in range(1, 101):
            said = container(restarts=count, running={})
            await world.hand.pod_status(f"pod-{pod}", containerStatuses=[said])

    began = time.monotonic()
    async with heard(world.driver) as ears:
        await eventually(lambda: ears.more(0))
        await asyncio.gather(*(restart(pod) for pod in range(10)))
        await world.hand.pod_status("pod-9", ready=True, containerStatuses=[container(ready=True)])

        async def last() -> bool:
            pods = (await world.driver.ensure(wanted)).status.pods
            return [pod.ready for pod in pods] == [False] * 9 + [True]

        await eventually(last)
        said = await world.driver.ensure(wanted)

    assert [pod.containers[0].restarts for pod in said.status.pods[:9]] == [100] * 9
    assert len(ears.slots) <= 1 + (time.monotonic() - began) / 0.3


async def test_a_version_that_is_too_old_leads_to_a_new_list(world: World, tmp_path: Path) -> None:
    proxy, cluster = await world.between(tmp_path)
    await world.driver.ensure(instance())
    proxy.expiring = 2
    informer, changed = following(cluster)

    async with informed(informer):
        await world.driver.ensure(instance(slot="later"))
        await eventually(_when(lambda: "later" in changed))

    assert proxy.expiring == 0
    assert informer.lists == 3
    assert changed == [SLOT, "later"]
    assert informer.kept.keys() == {SLOT, "later"}


async def test_what_went_while_nobody_watched_is_missing_from_the_new_list(
    world: World, tmp_path: Path
) -> None:
    proxy, cluster = await world.between(tmp_path)
    await world.driver.ensure(instance())
    informer, changed = following(cluster)

    async with informed(informer):
        proxy.away = True
        proxy.cut()
        await world.hand.delete(SLOT)
        proxy.expiring = 1
        proxy.away = False
        await eventually(_when(lambda: informer.lists == 2 and informer.fresh))

    assert changed == [SLOT, SLOT]


async def test_an_old_version_to_begin_from_is_no_hindrance(world: World) -> None:
    await world.driver.ensure(instance())
    informer, _ = following(world.cluster, after="1")

    async with informed(informer):
        await eventually(_when(lambda: SLOT in informer.kept))


async def test_a_watch_that_is_cut_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    proxy, cluster = await world.between(tmp_path)
    informer, changed = following(cluster)

    async with informed(informer):
        for name in ("first", "second", "third"):
            await world.driver.ensure(instance(slot=name))
            await eventually(partial(_in, name, changed))
            proxy.cut()
            await eventually(partial(proxy.watched_more, than=len(proxy.watches)))

    assert informer.lists == 1
    assert changed == ["first", "second", "third"]
    assert len(proxy.watches) >= 3
    assert sorted(proxy.watches, key=int) == proxy.watches


async def test_a_permission_that_is_missing_is_said_in_the_servers_words(
    world: World, tmp_path: Path
) -> None:
    proxy, cluster = await world.between(tmp_path)
    proxy.asking_as = f"system:serviceaccount:{world.namespace}:nobody"
    driver = KServeDriver(cluster, rest=QUICK)

    sight = await driver.ensure(instance())

    assert sight.code == "forbidden_cluster"
    assert f"{world.namespace}:nobody" in sight.status.message
    assert "inferenceservices" in sight.status.message
    with pytest.raises(DriverUnavailable, match="nobody"):
        await driver.present()


async def test_bookmarks_move_the_version_that_is_gone_on_from(
    own: OwnWorld, tmp_path: Path
) -> None:
    proxy, cluster = await own.between(tmp_path)
    informer, _ = following(cluster)

    async with informed(informer):
        for pod in range(3):
            await own.hand.pod(f"pod-{pod}", "another")
        version = str(own.server.storage.version)

        async def gone_on_from_there() -> bool:
            """On a busy machine the watch may be cut before it has told of a bookmark."""
            before, watches = own.server.bookmarked, len(proxy.watches)
            await eventually(_when(lambda: own.server.bookmarked > before + 1))
            proxy.cut()
            await eventually(partial(proxy.watched_more, than=watches))
            return version in proxy.watches

        await eventually(gone_on_from_there)

    assert informer.lists == 1


async def test_a_server_that_is_busy_is_asked_again_later(own: OwnWorld) -> None:
    await own.driver.ensure(instance())
    own.server.broken = 3
    informer, changed = following(own.cluster)

    async with informed(informer):
        assert changed == [SLOT]

    assert own.server.broken == 0


async def test_lists_are_read_in_pages(own: OwnWorld) -> None:
    for number in range(1201):
        own.server.put(resources.PODS, own.namespace, {"metadata": {"name": f"pod-{number:04}"}})
    kept: list[Observed] = []
    informer = Informer(own.cluster, Wanted(PODS, Pod), kept.append, QUICK)

    async with informed(informer):
        assert len(informer.kept) == len(kept) == 1201

    assert own.server.asked.count("list pods") == 3


async def test_nothing_is_held_of_thousands_of_others_pods(own: OwnWorld) -> None:
    wanted = instance()
    await own.driver.ensure(wanted)
    await own.hand.pod("mine", SLOT, wanted.served.id)
    for number in range(MANY):
        own.server.put(resources.PODS, own.namespace, _foreign(number))

    async with heard(own.driver) as ears:
        await eventually(lambda: ears.more(0))
        await eventually(partial(_followed, own, wanted))
        await eventually(_when(lambda: _held() == ["mine"]))
        for number in range(MANY):
            own.server.put(resources.EVENTS, own.namespace, _complaint(number))
            own.server.put(resources.PODS, own.namespace, _foreign(MANY + number))
        await own.hand.pod_status("mine", ready=True)

        async def seen() -> bool:
            return (await own.driver.ensure(wanted)).status.pods[0].ready

        await eventually(seen)
        await eventually(_when(lambda: _held() == ["mine"]))


def _held() -> list[str]:
    """Pods, and what was complained of, that there are in this process."""
    gc.collect()
    held = [one for one in gc.get_objects() if isinstance(one, Pod | Happening)]
    return [one.metadata.name for one in held]


async def _followed(own: OwnWorld, wanted: Instance) -> bool:
    """Whether pods are followed: nothing is listed any more to look at them."""
    lists = own.server.asked.count("list pods")
    await own.driver.ensure(wanted)
    return own.server.asked.count("list pods") == lists


async def _in(name: str, names: Sequence[str]) -> bool:
    return name in names


def _foreign(number: int) -> Json:
    labels = {"serving.kserve.io/inferenceservice": f"their-{number % 50}"}
    return {
        "metadata": {"name": f"theirs-{number}", "labels": labels},
        "spec": {"containers": [{"name": "one", "image": "example.com/image:1"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _complaint(number: int) -> Json:
    involved = {"kind": "Pod", "name": f"theirs-{number}"}
    said = {"type": "Warning", "reason": "Unhealthy", "message": "it does not answer"}
    return {"metadata": {"name": f"complaint-{number}"}, "involvedObject": involved, **said}
