"""What a cluster has that a manifest relies on: claims, secrets, config maps, GPUs.

For checks before anything is applied. Every method raises `ClusterError`
(`cluster_unreachable`, `forbidden_cluster`).
"""

from collections.abc import Mapping, Sequence

from processors.kserve import capacity as of_capacity
from processors.kserve.cluster import EVERYWHERE, Cluster, Selection
from processors.kserve.kinds import (
    CLAIMS,
    CONFIG_MAPS,
    NODES,
    PODS,
    SECRETS,
    Kind,
    Machine,
    Observed,
    Pod,
)
from processors.kserve.reading import Wanted, every, one
from schemas.checks import Capacity
from schemas.manifest import Manifest
from schemas.workloads import Node

RUNNING = Selection(fields="status.phase!=Succeeded,status.phase!=Failed", everywhere=True)


class Keyed(Observed):
    """A secret or a config map. What is under the keys is decoded, and dropped at once."""

    data: Mapping[str, str] | None = None
    binary_data: Mapping[str, str] | None = None


class Claim(Observed):
    """A persistent volume claim."""


class ClusterFacts:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def has_claim(self, name: str) -> bool:
        """Whether there is such a persistent volume claim: the store that weights are in."""
        return await one(self._cluster, CLAIMS, name, Claim) is not None

    async def secret_keys(self, name: str) -> frozenset[str] | None:
        """The keys of a secret; None when there is none of that name."""
        return await self._keys(SECRETS, name)

    async def config_map_keys(self, name: str) -> frozenset[str] | None:
        """The keys of a config map; None when there is none of that name."""
        return await self._keys(CONFIG_MAPS, name)

    async def nodes(self) -> Sequence[Node]:
        return of_capacity.nodes(await self._stock())

    async def capacity(self, manifest: Manifest, namespace: str, *, slot: str = "") -> Capacity:
        """GPUs for the manifest, with what serves in `slot` counted as gone."""
        return of_capacity.capacity(manifest, await self._stock(), namespace, slot)

    async def _stock(self) -> of_capacity.Stock:
        nodes = await every(self._cluster, Wanted(NODES, Machine, EVERYWHERE))
        pods = await every(self._cluster, Wanted(PODS, Pod, RUNNING, of_capacity.holds))
        return of_capacity.Stock(nodes, pods)

    async def _keys(self, kind: Kind, name: str) -> frozenset[str] | None:
        found = await one(self._cluster, kind, name, Keyed)
        return (
            None
            if found is None
            else frozenset({**(found.data or {}), **(found.binary_data or {})})
        )
