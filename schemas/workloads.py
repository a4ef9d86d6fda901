"""What the world that models run in can be asked now: logs, machines, what it says itself."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from schemas.manifest import Manifest
from schemas.message import Value


class WorldEvent(Value):
    """What a cluster, or a supervisor, says happened to one of our objects."""

    at: datetime
    kind: Literal["normal", "warning"]
    reason: str
    message: str
    object: str
    count: int = 1


class Node(Value):
    """A machine that models may run on. `why` says what keeps them off, if anything does."""

    name: str
    ready: bool
    gpus: int
    gpus_free: int
    gpu_product: str = ""
    gpu_memory: int = 0
    why: str = ""


class Workloads(Protocol):
    """Every method raises `Rejected`: `not_found`, `cluster_unreachable`, `forbidden_cluster`,
    `kserve_missing`."""

    def logs(
        self, namespace: str, pod: str, *, follow: bool, tail: int, container: str = ""
    ) -> AsyncIterator[bytes]:
        """The last `tail` lines of a pod, or of a process, and then, if asked, whatever comes."""
        ...

    async def events(self, namespace: str, slot: str, since: datetime) -> Sequence[WorldEvent]: ...

    async def nodes(self) -> Sequence[Node]: ...

    async def preview(self, manifest: Manifest, namespace: str, slot: str) -> dict[str, Any]:
        """What would be applied, or started, were this manifest activated; as the world that would
        carry it out sees it, where that can tell (a server-side dry run)."""
        ...
