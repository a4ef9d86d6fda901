"""HTTP for what models run in: pods of a cluster, or processes of a machine, and their logs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Annotated, TypeAlias

from litestar import Controller, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, PathParameter, QueryParameter
from litestar.types import ASGIApp

from gateway.admission import needs
from gateway.caller import From
from gateway.connections import Connection, Write
from gateway.ending import end
from gateway.job_logs import Open
from gateway.media_types import TEXT
from gateway.parameters import SlotQuery
from gateway.ports import Handed, Ports
from gateway.reading import Fresh, Models
from projections import runtime, statuses
from projections.rows import all_of
from schemas.api.runtime import GpuSums, PodRow, Pods, SlotRow, StatusRow
from schemas.message import Rejected
from schemas.names import END
from schemas.status import PodStatus
from schemas.workloads import Node

FIRST_SECONDS = 2.0
"""How long a refusal may take to come before the answer begins."""

NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$" + END

PodPath: TypeAlias = Annotated[
    str, PathParameter(pattern=NAME, max_length=253, description="A pod's name, or a process's.")
]
Tail: TypeAlias = Annotated[
    int, QueryParameter(ge=1, le=10_000, description="Lines of the past to begin with.")
]
Container: TypeAlias = Annotated[
    str | None, QueryParameter(pattern=NAME, max_length=253, description="One of several.")
]

LINES = {200: ResponseSpec(str, description="Lines of text", media_type=TEXT)}


class PodRoutes(Controller):
    path = "/runtime/pods"
    tags = ("runtime",)

    @get(opt=needs("read", lists=True))
    async def pods(
        self, caller: From, ports: Handed, models: Models, fresh: Fresh, slot: SlotQuery = None
    ) -> Pods:
        """List what models run in, with the state of each container, and sum up the GPUs."""
        names = [runtime.projection.name, statuses.projection.name]
        async with models.open(names, fresh) as view:
            seen = await all_of(
                lambda part: statuses.page(view.db, caller.namespaces, part, slot=slot)
            )
            wanted = runtime.Wanted(caller.namespaces, slot=slot)
            slots = await all_of(lambda part: runtime.page(view.db, wanted, part))
        items = tuple(pod for status in seen for pod in _pods(status, _models(slots)))
        nodes, note = await _nodes(ports)
        return Pods(items, _sums(items, nodes), nodes or (), note)

    @get("/{name:str}/logs", opt=needs("read"), responses=LINES)
    async def logs(
        self,
        name: PodPath,
        caller: From,
        ports: Handed,
        connections: Open,
        follow: FromQuery[bool] = False,
        tail: Tail = 200,
        container: Container = None,
    ) -> ASGIApp:
        """Read what an engine writes: its last lines, and, with `follow`, whatever comes."""
        connections.refuse_another(caller.access)
        lines = ports.workloads.logs(
            caller.namespace, name, follow=follow, tail=tail, container=container or ""
        )
        first = await _first(lines)
        return connections.answer(caller.access, f"{TEXT}; charset=utf-8", _writing(lines, first))


def _models(slots: list[SlotRow]) -> Mapping[str, str]:
    """Which model each activation is of."""
    known: dict[str, str] = {}
    for slot in slots:
        for served in (slot, slot.candidate, slot.previous):
            if served is not None and served.activation:
                known[served.activation] = served.model
    return known


def _pods(status: StatusRow, models: Mapping[str, str]) -> tuple[PodRow, ...]:
    return tuple(_pod(pod, status, models.get(pod.activation, "")) for pod in status.pods)


def _pod(pod: PodStatus, status: StatusRow, model: str) -> PodRow:
    return PodRow(
        name=pod.name,
        phase=pod.phase,
        node=pod.node,
        reason=pod.reason,
        message=pod.message,
        ready=pod.ready,
        gpus=pod.gpus,
        activation=pod.activation,
        containers=pod.containers,
        namespace=status.namespace,
        slot=status.slot,
        model=model or (status.model if pod.activation in ("", status.activation) else ""),
        seen_at=status.updated_at,
    )


async def _nodes(ports: Ports) -> tuple[tuple[Node, ...] | None, str]:
    """The machines, or why there are none to show."""
    try:
        return tuple(await ports.workloads.nodes()), ""
    except Rejected as refusal:
        return None, f"{refusal.code}: {refusal}"


def _sums(pods: tuple[PodRow, ...], nodes: tuple[Node, ...] | None) -> GpuSums:
    requested = sum(pod.gpus for pod in pods)
    if nodes is None:
        return GpuSums(requested)
    return GpuSums(requested, sum(n.gpus for n in nodes), sum(n.gpus_free for n in nodes))


async def _first(lines: AsyncIterator[bytes]) -> "asyncio.Future[bytes]":
    """The first lines to come; what is refused at once is raised here. Raises `Rejected`."""
    first = asyncio.ensure_future(anext(lines))
    try:
        await asyncio.wait({first}, timeout=FIRST_SECONDS)
    except asyncio.CancelledError:
        await end(first)
        raise
    if first.done() and not isinstance(first.exception(), StopAsyncIteration | None):
        first.result()
    return first


def _writing(lines: AsyncIterator[bytes], first: "asyncio.Future[bytes]") -> Write:
    async def write(connection: Connection) -> None:
        coming = first
        try:
            while True:
                await connection.write(await coming)
                coming = asyncio.ensure_future(anext(lines))
        except StopAsyncIteration:
            return
        except Rejected as refusal:
            await connection.write(f"mllm: {refusal.code}: {refusal}\n".encode())
        finally:
            await end(coming)
            if isinstance(lines, AsyncGenerator):
                await lines.aclose()

    return write
