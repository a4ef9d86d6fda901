"""What routes say of slots, put together from the log, the read models and the world."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from gateway.diagnosis import Known
from gateway.happenings import TYPES, from_log, from_world, is_about_slot
from gateway.ports import Ports
from gateway.registered import Registry
from projections import activations, event_index, runtime, statuses
from projections.event_index import EventRow
from projections.fold import events_of
from projections.rows import Part
from projections.table import Db
from schemas import runtime as slot_schema
from schemas import status as status_schema
from schemas.api.runtime import ActiveRow, RuntimeAccepted, RuntimeEventRow, SlotRow, StatusRow
from schemas.checks import Check
from schemas.log import Commit, Outcome, Stream
from schemas.message import Rejected
from schemas.status import PodStatus, SlotStatus, StatusUpdated
from schemas.workloads import WorldEvent

RECENT = timedelta(minutes=30)
LOG_LINES, MOST_LOGS = 200, 3
PATIENCE_SECONDS = 5.0
"""For each thing that a diagnosis asks the world."""


def accepted(outcome: Outcome) -> RuntimeAccepted:
    """What a command made of its slot, and the activation or deactivation that it is about."""
    row = runtime.fold.row_of(outcome.history)
    assert row is not None, "a command about a slot where nothing ever was is refused"
    return RuntimeAccepted(row, _about(outcome) or _under_way(row), outcome.position)


def _about(outcome: Outcome) -> str:
    """Which activation, or deactivation, the command was granted with."""
    said = events_of(outcome.commit) if outcome.commit else ()
    return next((activations.about(event) for event in said if is_about_slot(event)), "")


def _under_way(row: SlotRow) -> str:
    """The one that there was already."""
    return (row.candidate.activation if row.candidate else row.deactivation) or row.activation


def active(row: SlotRow, seen: StatusRow | None, engine: str) -> ActiveRow:
    status = seen or SlotStatus()
    return ActiveRow(
        namespace=row.namespace,
        slot=row.slot,
        state=row.state,
        model=row.model,
        version=row.version,
        activation=row.activation,
        target=row.target,
        runtime=engine,
        path=f"/serve/{row.slot}/v1",
        health=status.health,
        message=status.message,
        replicas=row.replicas,
        replicas_ready=status.replicas_ready,
        gpus=status.gpus,
        since=row.since,
    )


async def logged(
    db: Db, namespace: str, slot: str | None, since: datetime, limit: int
) -> Sequence[EventRow]:
    """Where in the log the newest events about slots are, or about one of them."""
    after = await event_index.position_at(db, since)
    wanted = event_index.Wanted(namespace, types=TYPES, id=slot, after=after)
    page = await event_index.page(db, wanted, Part(limit))
    return page.items


async def told(ports: Ports, places: Sequence[EventRow]) -> Sequence[RuntimeEventRow]:
    commits = await ports.log.fetch(sorted({place.position for place in places}))
    return [event for commit in commits for event in from_log(commit)]


async def world(
    ports: Ports, namespace: str, slots: Sequence[str], since: datetime
) -> Sequence[RuntimeEventRow]:
    """What the world says itself; that it does not answer is told like an event."""
    found: list[RuntimeEventRow] = []
    for slot in slots:
        try:
            events = await ports.workloads.events(namespace, slot, since)
        except Rejected as refusal:
            if refusal.code == "not_found":
                continue
            now = datetime.now(UTC)
            silent = WorldEvent(now, "warning", refusal.code, str(refusal), f"slot/{slot}")
            return [*found, from_world(silent, slot)]
        found += [from_world(event, slot) for event in events]
    return found


async def known(ports: Ports, namespace: str, slot: str) -> Known:
    """All that a diagnosis goes by. What the world does not tell in time is left out.

    Raises `LogUnavailable`.
    """
    row = runtime.fold.row_of(
        await ports.log.load(Stream(namespace, slot_schema.AGGREGATE, slot))
    ) or SlotRow(namespace, slot, "idle", 0, datetime.now(UTC))
    history = await ports.log.load(Stream(namespace, status_schema.AGGREGATE, slot))
    status = statuses.fold.row_of(history) or SlotStatus()
    now = datetime.now(UTC)
    pods = (*_telling(status), *_pods_that_failed(row, history))
    checks, logs, events = await asyncio.gather(
        _checks(ports, row), _logs(ports, namespace, pods), _events(ports, row, now)
    )
    lines = [line for _, log in logs for line in log]
    return Known(row, status, now, checks, lines, events, [pod for pod, _ in logs])


def _telling(status: SlotStatus) -> Sequence[PodStatus]:
    """What runs there; of what is not ready, if there is such."""
    pods = [pod for pod in status.pods if not pod.ready] or status.pods
    return pods[:MOST_LOGS]


def _pods_that_failed(row: SlotRow, history: Sequence[Commit]) -> Sequence[PodStatus]:
    """What an activation that failed ran in, as it was seen last: its log may be there still."""
    if row.failure is None:
        return ()
    for commit in reversed(history):
        for event in events_of(commit):
            pods = event.status.pods if isinstance(event, StatusUpdated) else ()
            if found := [pod for pod in pods if pod.activation == row.failure.activation]:
                return found[:1]
    return ()


async def _checks(ports: Ports, row: SlotRow) -> Sequence[Check]:
    """Those of the model that is to serve, or failed to."""
    failed = row.failure.model if row.failure else ""
    name = row.candidate.model if row.candidate else row.model or failed
    model = await Registry(ports.log).find(row.namespace, name) if name else None
    if model is None:
        return ()
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await ports.inspector.check(model.manifest, row.namespace, slot=row.slot)
    return ()


async def _events(ports: Ports, row: SlotRow, now: datetime) -> Sequence[WorldEvent]:
    with suppress(TimeoutError, Rejected):
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await ports.workloads.events(row.namespace, row.slot, now - RECENT)
    return ()


async def _logs(
    ports: Ports, namespace: str, pods: Sequence[PodStatus]
) -> Sequence[tuple[PodStatus, Sequence[str]]]:
    """The last lines of each pod whose log can be read."""
    found: dict[str, tuple[PodStatus, Sequence[str]]] = {}
    for pod in pods:
        with suppress(TimeoutError, Rejected):
            async with asyncio.timeout(PATIENCE_SECONDS):
                lines = ports.workloads.logs(namespace, pod.name, follow=False, tail=LOG_LINES)
                text = b"".join([chunk async for chunk in lines])
            found[pod.name] = (pod, text.decode(errors="replace").splitlines())
    return list(found.values())
