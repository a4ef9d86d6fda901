"""What is wrong with a slot: a pure function of what is known of it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from gateway.signs import CODES, READ_LOG, SIGNS
from schemas.api.runtime import Finding, Severity, SlotRow
from schemas.checks import Check
from schemas.status import PodStatus, SlotStatus
from schemas.workloads import WorldEvent

LONG = timedelta(minutes=2)
SHOWN = 3
"""Lines of evidence for one finding."""


class Known(NamedTuple):
    """What is known of a slot. `log` are the last lines of its engine; `now` is when.

    `logged` are the pods whose log can be read.
    """

    slot: SlotRow
    status: SlotStatus
    now: datetime
    checks: Sequence[Check] = ()
    log: Sequence[str] = ()
    events: Sequence[WorldEvent] = ()
    logged: Sequence[PodStatus] = ()


def diagnose(known: Known) -> tuple[Finding, ...]:
    """Everything that can be told, worst first."""
    found = [
        *_signs(known),
        *_failure(known),
        *_serving(known),
        *_pods(known),
        *_under_way(known),
        *_drift(known),
        *_checks(known),
    ]
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def healthy(findings: Sequence[Finding]) -> bool:
    return all(finding.severity == "info" for finding in findings)


def _signs(known: Known) -> Iterator[Finding]:
    """What the world says, the engine's log last; only while something is amiss."""
    if not _amiss(known):
        return
    texts = [*_said(known), *known.log]
    for sign in SIGNS:
        if shown := [text.strip()[:300] for text in texts if sign.pattern.search(text)]:
            yield Finding("error", sign.problem, tuple(shown[-SHOWN:]), sign.remedy)


def _amiss(known: Known) -> bool:
    slot, status = known.slot, known.status
    if slot.state in ("idle", "deactivating"):
        return False
    return slot.failure is not None or slot.candidate is not None or status.health != "ready"


def _said(known: Known) -> Iterator[str]:
    """What is said of the slot, in whatever way."""
    slot, status = known.slot, known.status
    if slot.failure is not None:
        yield f"{slot.failure.code}: {slot.failure.message}"
    if status.message:
        yield status.message
    for condition in status.conditions:
        if condition.status == "False":
            yield f"{condition.type}: {condition.reason} {condition.message}"
    for pod in status.pods:
        yield f"{pod.name}: {pod.reason} {pod.message}"
        for container in pod.containers:
            yield f"{pod.name}/{container.name}: {container.reason} {container.message}"
    for event in known.events:
        if event.kind == "warning":
            yield f"{event.object}: {event.reason} {event.message}"


def _failure(known: Known) -> Iterator[Finding]:
    failure = known.slot.failure
    if failure is None:
        return
    problem, remedy = CODES.get(failure.code, ("", READ_LOG))
    text = f"{failure.model} did not come to serve: {problem or failure.message}"
    evidence = (f"{failure.code} at {failure.at:%Y-%m-%dT%H:%M:%SZ}: {failure.message}",)
    severity: Severity = "error" if known.slot.state == "failed" else "warning"
    yield Finding(severity, text, evidence, _how(known, remedy, failure.activation))


def _how(known: Known, remedy: str, activation: str) -> str:
    """A remedy, with what shows the log of that activation; or, if it is gone, what happened."""
    pods = [pod.name for pod in known.logged if pod.activation in ("", activation)]
    if pods:
        return remedy.replace(READ_LOG, f"{READ_LOG} (`mllm runtime logs {pods[0]}`)")
    return remedy.replace(READ_LOG, f"see what happened (`mllm runtime events {known.slot.slot}`)")


def _serving(known: Known) -> Iterator[Finding]:
    slot, status = known.slot, known.status
    if slot.state == "idle":
        yield Finding(
            "info", "nothing serves here", (), f"`mllm runtime activate MODEL --slot {slot.slot}`"
        )
    if slot.state != "serving":
        return
    if slot.replicas == 0:
        remedy = f"`mllm runtime scale 1 --slot {slot.slot}`, or activate it again"
        yield Finding("info", f"{slot.model} is scaled to nothing", (), remedy)
    elif status.health in ("absent", "failed"):
        problem = f"{slot.model} is to serve, and does not"
        remedy = _how(known, READ_LOG, slot.activation)
        yield Finding("error", problem, _shown(status), remedy)
    elif status.health != "ready" or status.replicas_ready < slot.replicas:
        ready = f"{status.replicas_ready} of {slot.replicas} replicas are ready"
        yield Finding("warning", f"{slot.model} is {status.health}", (ready, *_shown(status)))


def _shown(status: SlotStatus) -> tuple[str, ...]:
    return (status.message,) if status.message else ()


def _pods(known: Known) -> Iterator[Finding]:
    for pod in known.status.pods:
        if evidence := tuple(_troubles(pod)):
            what = f"{pod.name} is {pod.reason or pod.phase}"
            yield Finding("warning", what, evidence[:SHOWN], f"`mllm runtime logs {pod.name}`")


def _troubles(pod: PodStatus) -> Iterator[str]:
    if pod.reason and not pod.ready:
        yield f"{pod.reason}: {pod.message}".rstrip(": ")
    for container in pod.containers:
        ended = f", exit code {container.exit_code}" if container.exit_code else ""
        if container.state == "waiting" and container.reason not in ("", "PodInitializing"):
            yield f"{container.name}: {container.reason} {container.message}".rstrip()
        elif container.exit_code:
            yield f"{container.name}: {container.state}{ended} {container.message}".rstrip()
        if container.restarts:
            yield f"{container.name}: restarted {container.restarts} times"


def _under_way(known: Known) -> Iterator[Finding]:
    candidate, slot = known.slot.candidate, known.slot
    if candidate is None:
        return
    since = known.now - candidate.requested_at
    if candidate.waiting:
        remedy = f"`mllm runtime promote {candidate.model}`, or `mllm runtime rollback`"
        yield Finding("info", f"{candidate.model} answers, and waits to be promoted", (), remedy)
    elif not candidate.worker and since > timedelta(seconds=30):
        evidence = (f"asked for {int(since.total_seconds())} s ago, and nobody has begun",)
        remedy = "see that `mllm serve processors` runs, and `mllm doctor`"
        yield Finding("error", f"nobody sees to {candidate.model}", evidence, remedy)
    else:
        left = candidate.timeout - since.total_seconds()
        phase, seconds = candidate.phase or "requested", int(since.total_seconds())
        evidence = (
            f"{phase}, {seconds} s after it was asked for;"
            f" it has failed if it does not answer within {max(0, int(left))} s",
        )
        severity: Severity = "warning" if since > LONG and left < candidate.timeout / 2 else "info"
        yield Finding(severity, f"{candidate.model} is coming up in {slot.slot}", evidence)


def _drift(known: Known) -> Iterator[Finding]:
    drift = known.slot.drift
    if drift is None:
        return
    if drift.corrected:
        yield Finding("info", "what somebody changed was put right", drift.fields)
    else:
        remedy = "undo it, or apply the model anew and activate it"
        yield Finding("warning", "what serves is not what was applied", drift.fields, remedy)


def _checks(known: Known) -> Iterator[Finding]:
    for check in known.checks:
        if check.outcome != "pass":
            severity: Severity = "error" if check.outcome == "fail" else "warning"
            yield Finding(severity, check.reason, (f"check {check.name}",), check.remedy)
