"""What can be asked of a cluster about what serves: logs, events, nodes, a dry run."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from processors.driver import Instance
from processors.kserve import service
from processors.kserve.cluster import Cluster, Query, Selection
from processors.kserve.facts import ClusterFacts
from processors.kserve.kinds import (
    EVENTS,
    INFERENCE_SERVICES,
    PODS,
    SERVICE_LABEL,
    Happening,
    Kind,
    Pod,
    SaidContainer,
    Service,
)
from processors.kserve.reading import Wanted, every, one
from processors.kserve.service import NAMESPACE, inference_service
from processors.kserve.watching import about
from schemas.manifest import Manifest
from schemas.message import Rejected
from schemas.runtime import Served
from schemas.workloads import Node, WorldEvent

MAIN = "kserve-container"
DRY_RUN = "dry-run"
"""Stands for the activation that there would be."""


class KubeWorkloads:
    """`store` is the one that a preview says the weights are in."""

    def __init__(
        self, cluster: Cluster, *, store: str = "default", kind: Kind = INFERENCE_SERVICES
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._kind = kind

    async def logs(
        self, namespace: str, pod: str, *, follow: bool, tail: int, container: str = ""
    ) -> AsyncIterator[bytes]:
        """Of `container`, or of the one that tells most: an init container until all are done,
        then the engine's. Pods of other namespaces of mllm, and others', are not found."""
        found = await one(self._cluster, PODS, pod, Pod)
        if found is None or await self._namespace(found) != namespace:
            raise Rejected("not_found", f"no pod {pod} serves a model of namespace {namespace}")
        query: Query = {
            "container": container or telling(found),
            "tailLines": str(max(0, tail)),
            "follow": "true" if follow else "false",
        }
        async for piece in self._cluster.logs(pod, PODS, query):
            yield piece

    async def events(self, namespace: str, slot: str, since: datetime) -> Sequence[WorldEvent]:
        """Oldest first."""
        names = service.names(namespace, slot)

        def ours(seen: Happening) -> bool:
            return any(about(seen, name) for name in names)

        wanted = Wanted(EVENTS, Happening, Selection(), ours)
        said = map(_event, await every(self._cluster, wanted))
        return sorted((one for one in said if one.at >= since), key=lambda one: one.at)

    async def nodes(self) -> Sequence[Node]:
        return await ClusterFacts(self._cluster).nodes()

    async def preview(self, manifest: Manifest, namespace: str, slot: str) -> dict[str, Any]:
        """The object as the server would have it. Raises `Rejected` (`unknown_engine`, `invalid`,
        `conflict`) too."""
        target = manifest.weights.name
        served = Served(DRY_RUN, manifest.id, 0, manifest, target, self._store)
        instance = Instance(namespace, slot, served, manifest.replicas.min)
        wanted = inference_service(instance, self._kind)
        there = await one(self._cluster, self._kind, wanted["metadata"]["name"], Service)
        own = there is not None and service.claimed(there, namespace, slot)
        found = await self._cluster.apply(self._kind, wanted, force=own, dry_run=True)
        found["metadata"].pop("managedFields", None)
        found.pop("status", None)
        return found

    async def _namespace(self, pod: Pod) -> str:
        """Of mllm's, the one whose model runs in the pod; as the pod says, or its service does."""
        labels = pod.metadata.labels
        if NAMESPACE in labels or not labels.get(SERVICE_LABEL):
            return labels.get(NAMESPACE, "")
        there = await one(self._cluster, self._kind, labels[SERVICE_LABEL], Service)
        owner = service.whose(there) if there else None
        return owner.namespace if owner else ""


def telling(pod: Pod) -> str:
    """The container whose log says most about how the pod is now."""
    for said in pod.status.init_container_statuses:
        if not _done(said):
            return said.name
    names = [container.name for container in pod.spec.containers]
    return MAIN if MAIN in names or not names else names[0]


def _done(said: SaidContainer) -> bool:
    ended = said.state.terminated
    return ended is not None and ended.exit_code == 0


def _event(seen: Happening) -> WorldEvent:
    involved = seen.involved_object
    return WorldEvent(
        at=_time(seen.at),
        kind="warning" if seen.type == "Warning" else "normal",
        reason=seen.reason,
        message=seen.message,
        object=f"{involved.kind}/{involved.name}",
        count=seen.times,
    )


def _time(said: str) -> datetime:
    """An event without a time is as old as can be."""
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        at = datetime.min
    return at if at.tzinfo else at.replace(tzinfo=UTC)
