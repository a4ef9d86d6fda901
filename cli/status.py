"""`mllm status`: what runs, and how it is."""

from collections.abc import Sequence

from cli.client import Gateway, decoded
from cli.exits import Exit
from cli.failures import Failure, OutOfReach
from cli.quantities import size
from cli.session import Here
from cli.tables import coloured, facts
from schemas.api.runtime import SlotRow
from schemas.api.system import Readiness, SystemInfo, SystemSummary
from schemas.message import Value


class Status(Value):
    """`summary` is None while the read models do not answer, and `slots` nothing."""

    server: str
    readiness: Readiness
    info: SystemInfo
    summary: SystemSummary | None
    slots: tuple[SlotRow, ...] = ()


def status(*, session: Here) -> int:
    """Show what runs, and how it is. Fails unless everything is ready."""
    gateway = session.gateway
    readiness = ready(gateway)
    info = gateway.get("/system/info", SystemInfo)
    reply = gateway.ask("GET", "/system/summary")
    summary = decoded(reply, SystemSummary) if reply.status == 200 else None
    found = Status(gateway.server, readiness, info, summary, _slots(gateway))
    shown = text(found, colour=session.printer.colour)
    session.printer.value(found, shown, f"server/{gateway.server}")
    return Exit.OK if readiness.ok else Exit.FAILED


def ready(gateway: Gateway) -> Readiness:
    """What /readyz says; that not everything is ready is an answer, too."""
    reply = gateway.ask("GET", "/readyz")
    if reply.status not in (200, 503):
        raise OutOfReach(
            f"{gateway.server} answers, but not like mllm (HTTP {reply.status})",
            "name a gateway with --server or `mllm login`",
        )
    return decoded(reply, Readiness)


def text(status: Status, *, colour: bool) -> str:
    info, summary = status.info, status.summary
    state = "ready" if status.readiness.ok else "not ready"
    pairs = [
        ("Server", f"{status.server}  mllm {info.version}"),
        ("State", state),
        ("You", f"{info.actor} in namespace {info.namespace}, may {', '.join(info.scopes)}"),
        ("Runtime", info.runtime),
        ("Log", f"position {info.position}, epoch {info.epoch}"),
    ]
    pairs += [
        (part.name, f"{'ok' if part.ok else 'fail'}  {part.detail}".rstrip())
        for part in status.readiness.parts
    ]
    if summary is not None:
        pairs += [*_figures(summary), ("Serving", serving(status.slots))]
    shown = facts(pairs)
    if colour:
        for word in ("ok", "fail", "ready"):
            shown = shown.replace(f"  {word}", f"  {coloured(word)}")
    return shown


def _slots(gateway: Gateway) -> tuple[SlotRow, ...]:
    """None of them while the read models do not answer."""
    try:
        return tuple(gateway.rows("/runtime", SlotRow).rows)
    except Failure:
        return ()


def serving(slots: Sequence[SlotRow]) -> str:
    """What every slot is at: `llama in active-llm; other failed`."""
    return "; ".join(map(_slot, slots)) or "nothing"


def _slot(row: SlotRow) -> str:
    coming = f"{row.candidate.model} is coming up" if row.candidate is not None else ""
    if row.model:
        return f"{row.model} in {row.slot}" + (f", where {coming}" if coming else "")
    return f"{row.slot}: {coming}" if coming else f"{row.slot} {row.state}"


def _figures(summary: SystemSummary) -> list[tuple[str, str]]:
    jobs = ", ".join(f"{count} {status}" for status, count in summary.jobs.items() if count)
    behind = [f"{p.name} {p.lag} behind" for p in summary.projections if p.lag]
    return [
        ("Jobs", jobs or "none"),
        ("Weights", f"{summary.weights}, {size(summary.weights_bytes)}"),
        ("Read models", ", ".join(behind) or "up to date"),
    ]
