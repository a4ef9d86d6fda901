"""Everything of ours in the cluster, followed by informers: which slot to look at, and at what.

InferenceServices of ours say which names are ours; pods, deployments and warnings are kept when
they belong to one of those, so that a namespace full of others' costs nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import NoReturn, TypeVar

from processors.kserve.cluster import EVERYWHERE, MANAGER, Cluster, Selection
from processors.kserve.informer import Informer, Rest
from processors.kserve.kinds import (
    DEPLOYMENTS,
    EVENTS,
    MANAGED_BY,
    NODES,
    PODS,
    SERVICE_LABEL,
    Deployment,
    Happening,
    Kind,
    Machine,
    Observed,
    Pod,
    Service,
)
from processors.kserve.reading import Wanted, every
from processors.kserve.service import DERIVED, whose
from processors.kserve.waking import Slot, Waking

OWN_SERVICES = Selection(f"{MANAGED_BY}={MANAGER}")
OF_SERVICES = Selection(SERVICE_LABEL)
WARNINGS = Selection(fields="type=Warning")
T = TypeVar("T", Pod, Deployment)


class Watching:
    """Reads through what it follows while that is fresh, and asks the cluster otherwise."""

    def __init__(
        self, cluster: Cluster, kind: Kind, *, pause: float = 0.3, rest: Rest | None = None
    ) -> None:
        self._cluster = cluster
        self._names: dict[str, Slot] = {}
        self._waking = Waking(pause)
        services = Wanted(kind, Service, OWN_SERVICES)
        pods = Wanted(PODS, Pod, OF_SERVICES, self._is_ours)
        deployments = Wanted(DEPLOYMENTS, Deployment, OF_SERVICES, self._is_ours)
        warnings = Wanted(EVENTS, Happening, WARNINGS, self._is_about_us)
        self._services = Informer(cluster, services, self._learn, rest)
        self._pods = Informer(cluster, pods, self._changed, rest)
        self._deployments = Informer(cluster, deployments, self._changed, rest)
        self._warnings = Informer(cluster, warnings, self._happened, rest)
        nodes = Wanted(NODES, Machine, EVERYWHERE)
        self._nodes = Informer(cluster, nodes, self._carries, rest)

    async def changes(self) -> AsyncGenerator[Slot]:
        """Namespace and slot, whenever something happened there; for ever."""
        own = (self._services, self._pods, self._deployments, self._warnings)
        tasks = [asyncio.create_task(informer.run()) for informer in (*own, self._nodes)]
        try:
            while True:
                yield await self._turn(tasks)
        finally:
            await _stop(tasks)

    async def _turn(self, following: Iterable[asyncio.Task[NoReturn]]) -> Slot:
        turn = asyncio.create_task(self._waking.next())
        try:
            done, _ = await asyncio.wait({turn, *following}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # informers end only by an error of ours, which shall not be quiet
            return turn.result()
        finally:
            turn.cancel()

    def know(self, name: str, slot: Slot) -> None:
        """The object `name` is the slot's, even before the cluster says so."""
        if self._names.get(name) != slot:
            self._names[name] = slot
            for informer in (self._pods, self._deployments, self._warnings):
                informer.again()

    async def pods(self, name: str) -> Sequence[Pod]:
        """Those of the InferenceService `name`. Raises `ClusterError`."""
        return await self._read(self._pods, Wanted(PODS, Pod, _of(name)), name)

    async def deployments(self, name: str) -> Sequence[Deployment]:
        wanted = Wanted(DEPLOYMENTS, Deployment, _of(name))
        return await self._read(self._deployments, wanted, name)

    def warnings(self, name: str) -> Sequence[Happening]:
        """What was lately complained of; nothing while it is not followed."""
        kept = self._warnings.kept.values() if self._warnings.fresh else ()
        return [one for one in kept if about(one, name)]

    def nodes(self) -> Mapping[str, Machine]:
        """By name; nothing while they are not followed, as where that is not allowed."""
        return self._nodes.kept if self._nodes.fresh else {}

    async def _read(self, informer: Informer[T], wanted: Wanted[T], name: str) -> Sequence[T]:
        if not informer.fresh:
            return await every(self._cluster, wanted)
        return [one for one in informer.kept.values() if _service(one) == name]

    def _is_ours(self, seen: Observed) -> bool:
        return _service(seen) in self._names

    def _is_about_us(self, seen: Happening) -> bool:
        return any(about(seen, name) for name in self._names)

    def _learn(self, seen: Service) -> None:
        if present := whose(seen):
            slot = (present.namespace, present.slot)
            self.know(seen.metadata.name, slot)
            self._waking.ring(slot)

    def _changed(self, seen: Observed) -> None:
        self._ring([_service(seen)])

    def _happened(self, seen: Happening) -> None:
        self._ring(name for name in self._names if about(seen, name))

    def _carries(self, seen: Machine) -> None:
        node, pods = seen.metadata.name, self._pods.kept.values()
        self._ring({_service(pod) for pod in pods if pod.spec.node_name == node})

    def _ring(self, names: Iterable[str]) -> None:
        for slot in filter(None, map(self._names.get, names)):
            self._waking.ring(slot)


def about(seen: Happening, name: str) -> bool:
    """Whether an event is about the InferenceService `name`, or what was made of it."""
    subject = seen.involved_object.name
    return subject == name or subject.startswith(f"{name}{DERIVED}")


def _of(name: str) -> Selection:
    return Selection(f"{SERVICE_LABEL}={name}")


def _service(seen: Observed) -> str:
    return seen.metadata.labels.get(SERVICE_LABEL, "")


async def _stop(tasks: Sequence[asyncio.Task[NoReturn]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
