"""What `mllm runtime` shows of slots: how they are, what happened to them, what engines write."""

import http.client
import re
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from cli.client import Gateway, Rows, segment
from cli.exits import Exit
from cli.failures import Failure, OutOfReach
from cli.rollout import fetch_slot, seen
from cli.runtime_rows import EVENTS, SLOTS, Seen, slot_text
from cli.session import Session
from cli.tables import Column, printable
from cli.tailing import Message, Pump, follow
from schemas.api.runtime import RuntimeEventRow, SlotRow, StatusRow
from schemas.api.system import SystemInfo
from schemas.names import ALL

TYPES = ("model.activation.*", "model.deactivation.*", "runtime.*", "model.status.updated")
SETTLE_SECONDS = 0.3
POLL_SECONDS = 2.0
SILENCE_SECONDS = 3600.0
"""An engine may have nothing to write for long."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def print_slot(session: Session, slot: str, as_of: str | None) -> None:
    """All about one slot. Raises `Failure`."""
    row = fetch_slot(session.gateway, slot, as_of=as_of)
    found = Seen(row) if as_of else seen(session.gateway, row)
    session.printer.value(found, slot_text(found, colour=session.printer.colour))


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
    for found in _changing(gateway, slot, position):
        show([one for one in found if one not in known])
        known = found


def _changing(gateway: Gateway, slot: str | None, position: int) -> Iterator[list[Seen]]:
    """The slots as they are, and again whenever something has happened to one; for ever."""
    yield _slots(gateway, slot, None)
    newest = 0
    with Pump(gateway, partial(follow, after=position, type=TYPES, id=slot)) as pump:
        for item in pump.items(SETTLE_SECONDS):
            if isinstance(item, Message) and item.id:
                newest = int(item.id.partition(".")[0])
            elif newest:
                try:
                    yield _slots(gateway, slot, None, min_sequence=newest)
                except Failure as failure:
                    if not failure.passing:
                        raise
                else:
                    newest = 0


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


def print_logs(
    session: Session, pod: str | None, slot: str, *, follow: bool, tail: int, container: str
) -> None:
    """What a pod writes, or, unless it is said, the one in the slot. Raises `Failure`."""
    name = pod or _pod_in(session, slot)
    path = f"/runtime/pods/{segment(name)}/logs"
    gateway = session.gateway.patient(SILENCE_SECONDS)
    said = {"follow": follow, "tail": tail, "container": container or None}
    try:
        for line in gateway.stream(path, "text/plain", {}, **said):
            print(_text(line))
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    except (OSError, http.client.HTTPException) as error:
        raise OutOfReach("the connection broke off", "run it again to go on") from error


def _text(line: bytes) -> str:
    """A line without what could move a cursor: engines write what strangers tell them."""
    return printable(COLOURS.sub("", line.decode(errors="replace").rstrip("\r\n")).expandtabs())


def _pod_in(session: Session, slot: str) -> str:
    """The pod in the slot: of several, one that is ready, if any is."""
    status = seen(session.gateway, fetch_slot(session.gateway, slot)).status
    pods = sorted(status.pods if status else (), key=lambda pod: not pod.ready)
    if not pods:
        raise Failure(
            f"nothing runs in {slot}", f"see `mllm runtime status {slot}`", exit=Exit.NOT_FOUND
        )
    if len(pods) > 1:
        others = ", ".join(pod.name for pod in pods[1:])
        session.hint(f"these are the logs of {pods[0].name}; there is also: {others}")
    return pods[0].name
