"""What this machine has of what a manifest relies on: the `World` of local processes."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from processors.inspection import Warned
from processors.process import holding, places
from processors.process.recipes import Recipes
from processors.process.weights import installed
from processors.process.workloads import ProcessWorkloads
from processors.store import Store
from schemas.checks import Capacity, Holder
from schemas.facts import Facts
from schemas.manifest import Manifest
from schemas.message import Rejected
from schemas.secrets import Secrets
from schemas.weights import Holding
from schemas.workloads import Node

ELSEWHERE = "another namespace"
"""Who holds cards there, and for which model, is not this tenant's to know."""


class ProcessWorld:
    """The `World` of one machine."""

    runtime = "process"

    def __init__(self, data_dir: Path, store: Store, recipes: Recipes, secrets: Secrets) -> None:
        self._root = places.runtime(data_dir)
        self._store = store
        self._recipes = recipes
        self._secrets = secrets
        self._workloads = ProcessWorkloads(data_dir, recipes)

    async def storage(self, there: Holding, namespace: str) -> str:
        if there.store != self._store.name:
            text = f"the weights are in store {there.store}; this machine has {self._store.name}"
            raise Rejected("weights_missing", text, remedy="install them here")
        folder = await asyncio.to_thread(installed, self._store.layout, namespace, there.target)
        if not await asyncio.to_thread(os.access, folder, os.R_OK | os.X_OK):
            text = f"{folder} can not be read"
            raise Rejected("weights_missing", text, remedy="mend its permissions")
        return f"readable in {folder}"

    async def secrets(self, manifest: Manifest, namespace: str) -> str:
        wanted = {v.secret.name for v in manifest.env if v.secret is not None}
        known = {secret.name for secret in await self._secrets.list(namespace)}
        if missing := sorted(wanted - known):
            text = f"there is no secret called {', '.join(missing)}"
            raise Rejected("secret_not_found", text, remedy=f"mllm secrets set {missing[0]}")
        return f"there: {', '.join(sorted(wanted))}" if wanted else "asks for none"

    async def config_maps(self, manifest: Manifest, namespace: str) -> str:
        named = {v.config_map.name for v in manifest.env if v.config_map is not None}
        named |= {v.config_map for v in manifest.volumes if v.config_map is not None}
        if named:
            text = f"a process has no config maps: {', '.join(sorted(named))}"
            raise Rejected("unsupported_by_runtime", text, remedy="give the values themselves")
        return "asks for none"

    async def engine(self, manifest: Manifest, facts: Facts | None, namespace: str) -> str:
        plan = await self._recipes.preview(manifest, namespace)
        if not plan["installed"]:
            text = f"{plan['engine']} is not installed here"
            raise Rejected("engine_missing", text, remedy=plan["remedy"])
        serves = f"{plan['engine']} serves it"
        if fields := ", ".join(ignored(manifest)):
            raise Warned(
                f"{serves}; on the process runtime this is not honoured: {fields}",
                "leave it out, or serve it with MLLM_RUNTIME=kserve",
            )
        return serves

    async def capacity(self, manifest: Manifest, namespace: str, slot: str) -> Capacity:
        """Only our own servers are known to hold cards; whose they are is said within a tenant."""
        total = sum(node.gpus for node in await self.nodes())
        held = await asyncio.to_thread(_holders, self._root)
        others = [
            holder if where[0] == namespace else Holder(ELSEWHERE, holder.gpus)
            for where, holder in held
            if where != (namespace, slot)
        ]
        free = max(0, total - sum(holder.gpus for holder in others))
        return Capacity(manifest.resources.gpus, free, total, tuple(others))

    def memory(self) -> int:
        return psutil.virtual_memory().total

    async def nodes(self) -> Sequence[Node]:
        return await self._workloads.nodes()


def ignored(manifest: Manifest) -> Iterator[str]:
    """Fields that mean something on a cluster, and nothing to a process."""
    resources = manifest.resources
    said = {
        "nodeSelector": manifest.node_selector,
        "tolerations": manifest.tolerations,
        "resources.cpu": resources.cpu,
        "resources.memory": resources.memory,
        "volumes (memory)": any(volume.memory for volume in manifest.volumes),
        "replicas.min": manifest.replicas.min > 1,
    }
    return (field for field, value in said.items() if value)


def _holders(root: Path) -> list[tuple[tuple[str, str], Holder]]:
    """Every server of ours that was given cards, and the namespace and slot that it is in."""
    found: list[tuple[tuple[str, str], Holder]] = []
    for place in places.wanted(root):
        server = holding.look(place).server
        if server is not None and server.gpus:
            holder = Holder(place.pod, server.gpus, place.slot, server.model)
            found.append(((place.namespace, place.slot), holder))
    return found
