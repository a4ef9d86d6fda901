"""What `mllm runtime` shows of slots: how they are, and what happened to them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from cli.client import Gateway, Rows
from cli.listing import relisted
from cli.rollout import fetch_slot, seen
from cli.runtime_rows import EVENTS, SLOTS, Seen, slot_text
from cli.session import Session
from cli.tables import Column
from schemas.api.runtime import RuntimeEventRow, SlotRow, StatusRow
from schemas.api.system import SystemInfo
from schemas.names import ALL

TYPES = ("model.activation.*", "model.deactivation.*", "runtime.*", "model.status.updated")
POLL_SECONDS = 2.0


def print_slot(session: Session, slot: str, as_of: str | None) -> None:
    """All about one slot. Raises `Failure`."""
    row = fetch_slot(session.gateway, slot, as_of=as_of)
    found = Seen(row) if as_of else seen(session.gateway, row)
    text = slot_text(found, colour=session.printer.colour)
    session.printer.value(found, text, f"slot/{row.slot}")


def print_slots(
    session: Session,
    slot: str | None,
    as_of: str | None,
    *,
    all_namespaces: bool,
    watch: bool,
) -> None:
    """Every slot, or that one; with `watch`, go on with whatever changes. Raises `Failure`."""
    gateway = session.gateway.within(ALL) if all_namespaces else session.gateway
    view = SLOTS
    if all_namespaces:
        view = view.preceded_by(Column("NAMESPACE", lambda seen: seen.slot.namespace))
    if not watch:
        found = _slots(gateway, slot, as_of)
        session.printer.rows(found, view, "nothing was ever activated")
        return
    position = session.gateway.get("/system/info", SystemInfo).position
    show, known = session.printer.changes(view), list[Seen]()
    fetch = partial(_slots, gateway, slot, None)
    for rows in relisted(gateway, fetch, position, type=TYPES, id=slot):
        show([row for row in rows if row not in known])
        known = list(rows)


def _slots(
    gateway: Gateway, slot: str | None, as_of: str | None, min_sequence: int | None = None
) -> list[Seen]:
    found: Rows[SlotRow] = gateway.rows(
        "/runtime", SlotRow, slot=slot, as_of=as_of, min_sequence=min_sequence
    )
    last: dict[tuple[str, str], StatusRow] = {}
    if as_of is None:
        statuses = gateway.rows("/models/status", StatusRow, min_sequence=min_sequence).rows
        last = {(one.namespace, one.slot): one for one in statuses}
    return [Seen(row, last.get((row.namespace, row.slot))) for row in found.rows]


def print_events(session: Session, slot: str | None, since: float, *, watch: bool) -> None:
    """What happened in the last `since` seconds; with `watch`, go on. Raises `Failure`."""
    beginning = datetime.now(UTC) - timedelta(seconds=since)
    if not watch:
        found = _events(session.gateway, slot, beginning)
        session.printer.rows(found, EVENTS, "nothing happened")
        return
    show, known = session.printer.changes(EVENTS), list[RuntimeEventRow]()
    while True:
        found = _events(session.gateway, slot, beginning)
        show([event for event in found if event not in known])
        known = list(found)
        time.sleep(POLL_SECONDS)


def _events(gateway: Gateway, slot: str | None, since: datetime) -> Sequence[RuntimeEventRow]:
    """Oldest first."""
    moment = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = gateway.rows("/runtime/events", RuntimeEventRow, since=moment, slot=slot).rows
    return sorted(rows, key=lambda row: row.at)
