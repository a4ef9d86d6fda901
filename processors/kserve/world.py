"""What a cluster has of what a manifest relies on: the `World` of KServe."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from processors.driver import Instance
from processors.kserve.facts import ClusterFacts
from processors.kserve.kinds import INFERENCE_SERVICES
from processors.kserve.service import inference_service, refuse_gguf
from schemas.checks import Capacity
from schemas.facts import Facts
from schemas.manifest import Manifest
from schemas.message import Rejected
from schemas.runtime import DEFAULT_SLOT, Served
from schemas.weights import Holding
from schemas.workloads import Node


class _Keys(Protocol):
    async def __call__(self, name: str) -> frozenset[str] | None: ...


class ClusterWorld:
    """The `World` of one namespace of a cluster."""

    runtime = "kserve"

    def __init__(self, facts: ClusterFacts) -> None:
        self._facts = facts

    async def storage(self, there: Holding, namespace: str) -> str:
        if not await self._facts.has_claim(there.store):
            raise Rejected(
                "weights_missing",
                f"there is no persistent volume claim called {there.store}",
                remedy="create the claim that the weights' store is mounted from",
            )
        return f"claim {there.store} is there"

    async def secrets(self, manifest: Manifest, namespace: str) -> str:
        wanted = {v.secret: {""} for v in manifest.volumes if v.secret is not None}
        for variable in manifest.env:
            if variable.secret is not None:
                key = variable.secret.key or variable.name
                wanted.setdefault(variable.secret.name, set()).add(key)
        return await _there("secret", wanted, self._facts.secret_keys)

    async def config_maps(self, manifest: Manifest, namespace: str) -> str:
        wanted = {v.config_map: {""} for v in manifest.volumes if v.config_map is not None}
        for one in (v.config_map for v in manifest.env if v.config_map is not None):
            wanted.setdefault(one.name, set()).add(one.key)
        return await _there("config map", wanted, self._facts.config_map_keys)

    async def engine(self, manifest: Manifest, facts: Facts | None, namespace: str) -> str:
        served = Served("check", manifest.id, 0, manifest, manifest.weights.name, "default")
        inference_service(Instance(namespace, DEFAULT_SLOT, served), INFERENCE_SERVICES)
        if facts is not None and facts.format == "gguf":
            refuse_gguf()
        return "KServe serves it"

    async def capacity(self, manifest: Manifest, namespace: str, slot: str) -> Capacity:
        return await self._facts.capacity(manifest, namespace, slot=slot)

    def memory(self) -> int:
        return 0

    async def nodes(self) -> Sequence[Node]:
        return await self._facts.nodes()


async def _there(kind: str, wanted: Mapping[str, Iterable[str]], keys: _Keys) -> str:
    """That all of them are there, with all their keys. Raises `Rejected` naming what is not."""
    missing: list[str] = []
    for name in sorted(wanted):
        found = await keys(name)
        if found is None:
            missing.append(name)
            continue
        missing += [f"{name}/{key}" for key in sorted(wanted[name]) if key and key not in found]
    if missing:
        text = f"there is no {kind} {', '.join(missing)}"
        raise Rejected("not_found", text, remedy="create it, in the cluster's namespace")
    return f"there: {', '.join(sorted(wanted))}" if wanted else "asks for none"
