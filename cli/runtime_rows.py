"""How slots, their pods and what happened to them are shown."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from cli.evidence import headed, indented
from cli.job_rows import since
from cli.runtime_drawing import seconds_of
from cli.tables import Column, Table, View, coloured, facts, printable
from schemas.api.runtime import (
    CandidateRow,
    Diagnosis,
    Finding,
    RuntimeEventRow,
    SlotRow,
    StatusRow,
)
from schemas.message import Value
from schemas.status import Condition, PodStatus

R = TypeVar("R")


class Seen(Value):
    """A slot, and what was last seen of it; None when that is nothing yet."""

    slot: SlotRow
    status: StatusRow | None = None


def _health(seen: Seen) -> str:
    return seen.status.health if seen.status else "-"


def _ready(seen: Seen) -> str:
    status = seen.status
    return f"{status.replicas_ready}/{status.replicas}" if status else "-"


def _going_on(slot: SlotRow) -> str:
    """What an activation under way is about: `mistral-7b (load)`."""
    candidate = slot.candidate
    if candidate is None:
        return "-"
    phase = "waits to be promoted" if candidate.waiting else candidate.phase or "requested"
    return f"{candidate.model} ({phase})"


def _message(seen: Seen) -> str:
    said = seen.status.message if seen.status else ""
    failure = seen.slot.failure.message if seen.slot.failure else ""
    return headed(said or failure)[0] or "-"


SLOTS: View[Seen] = View(
    "slot",
    lambda seen: seen.slot.slot,
    (
        Column("SLOT", lambda seen: seen.slot.slot),
        Column("STATE", lambda seen: seen.slot.state),
        Column("MODEL", lambda seen: seen.slot.model or "-"),
        Column("HEALTH", _health),
        Column("READY", _ready),
        Column("CANDIDATE", lambda seen: _going_on(seen.slot)),
        Column("AGE", lambda seen: since(seen.slot.since)),
        Column("ENGINE", lambda seen: seen.slot.runtime or "-", wide=True),
        Column("GPUS", lambda seen: str(seen.status.gpus) if seen.status else "-", wide=True),
        Column("VERSION", lambda seen: str(seen.slot.version or "-"), wide=True),
        Column("PREVIOUS", lambda seen: _named(seen.slot), wide=True),
        Column("ACTIVATION", lambda seen: seen.slot.activation or "-", wide=True),
        Column("BY", lambda seen: seen.slot.by or "-", wide=True),
        Column("MESSAGE", _message, wide=True),
    ),
)
PODS: View[PodStatus] = View(
    "pod",
    lambda pod: pod.name,
    (
        Column("POD", lambda pod: pod.name),
        Column("PHASE", lambda pod: pod.phase),
        Column("READY", lambda pod: "yes" if pod.ready else "no"),
        Column("RESTARTS", lambda pod: str(sum(one.restarts for one in pod.containers))),
        Column("NODE", lambda pod: pod.node or "-"),
        Column("GPUS", lambda pod: str(pod.gpus)),
        Column("REASON", lambda pod: _reason(pod) or "-"),
    ),
)
CONDITIONS: View[Condition] = View(
    "condition",
    lambda condition: condition.type,
    (
        Column("CONDITION", lambda condition: condition.type),
        Column("STATUS", lambda condition: condition.status),
        Column("REASON", lambda condition: condition.reason or "-"),
        Column("MESSAGE", lambda condition: condition.message or "-"),
    ),
)
EVENTS: View[RuntimeEventRow] = View(
    "event",
    lambda event: f"{event.slot}/{event.reason}",
    (
        Column("TIME", lambda event: f"{event.at:%Y-%m-%d %H:%M:%S}"),
        Column("KIND", lambda event: event.kind),
        Column("SLOT", lambda event: event.slot),
        Column("REASON", lambda event: event.reason),
        Column("MESSAGE", lambda event: event.message),
        Column("OBJECT", lambda event: event.object or "-", wide=True),
        Column("COUNT", lambda event: str(event.count), wide=True),
        Column("SOURCE", lambda event: event.source, wide=True),
    ),
)


def slot_text(seen: Seen, *, colour: bool) -> str:
    """All that is known of one slot, for people."""
    slot, status = seen.slot, seen.status
    parts = [facts([*_serving(slot), *_seen(status), *_troubles(slot)])]
    if slot.candidate is not None:
        parts.append(_candidate(slot.candidate))
    if status is not None and status.pods:
        parts.append(_table(PODS, status.pods, colour))
    if status is not None and status.conditions:
        parts.append(_table(CONDITIONS, status.conditions, colour))
    return "\n\n".join(parts)


def diagnosis_text(diagnosis: Diagnosis, *, colour: bool) -> str:
    word = "ok" if diagnosis.healthy else "fail"
    verdict = "healthy" if diagnosis.healthy else "not healthy"
    shown = f"{coloured(word)}: {verdict}" if colour else verdict
    head = f"{diagnosis.slot} is {diagnosis.state}, {shown}"
    return "\n\n".join([head, *(_finding(one) for one in diagnosis.findings)])


def _finding(finding: Finding) -> str:
    lines = [f"{finding.severity}: {printable(finding.problem)}"]
    lines += [f"  {indented(text, 4)}" for text in finding.evidence]
    if finding.remedy:
        lines.append(f"  remedy: {printable(finding.remedy)}")
    return "\n".join(lines)


def _serving(slot: SlotRow) -> list[tuple[str, str]]:
    version = f" (version {slot.version})" if slot.model else ""
    return [
        ("Slot", slot.slot),
        ("Namespace", slot.namespace),
        ("State", slot.state),
        ("Model", f"{slot.model or 'none'}{version}"),
        ("Engine", slot.runtime),
        ("Weights", slot.target),
        ("Since", _when(slot.since, slot.by)),
        ("Ask it", f"/serve/{slot.slot}/v1" if slot.model else ""),
        ("Previous", _named(slot).removeprefix("-")),
    ]


def _seen(status: StatusRow | None) -> list[tuple[str, str]]:
    if status is None:
        return []
    return [
        ("Health", status.health),
        ("Replicas", f"{status.replicas_ready} of {status.replicas} ready"),
        ("GPUs", str(status.gpus) if status.gpus else ""),
        ("Message", status.message),
    ]


def _troubles(slot: SlotRow) -> list[tuple[str, str]]:
    failure, drift = slot.failure, slot.drift
    failed = f"{failure.model}, {failure.code}: {failure.message}" if failure else ""
    fields = ", ".join(drift.fields) if drift else ""
    put_right = " (put right)" if drift and drift.corrected else ""
    return [("Failed", failed), ("Drift", f"{fields}{put_right}")]


def _candidate(candidate: CandidateRow) -> str:
    state = "waits to be promoted" if candidate.waiting else candidate.phase or "requested"
    begun = ", ".join(f"{one.phase} at {seconds_of(one.ms)}" for one in candidate.phases)
    return facts(
        [
            ("Candidate", f"{candidate.model} (version {candidate.version})"),
            ("Phase", state),
            ("Phases", begun),
            ("Strategy", candidate.strategy + (", goes back" if candidate.back else "")),
            ("Requested", _when(candidate.requested_at, candidate.by)),
            ("Activation", candidate.activation),
        ]
    )


def _named(slot: SlotRow) -> str:
    return slot.previous.model if slot.previous else "-"


def _reason(pod: PodStatus) -> str:
    """Why a pod is not as it should be: its own word, or that of a container."""
    if pod.reason:
        return pod.reason
    return next((one.reason for one in pod.containers if one.reason and not one.ready), "")


def _table(view: View[R], rows: Sequence[R], colour: bool) -> str:
    return "\n".join(Table(view, colour=colour).lines(rows))


def _when(at: datetime | None, by: str) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC by {by}" if at else ""
