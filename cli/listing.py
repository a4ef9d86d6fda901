"""Lists: all that a verb that lists something does, and staying to see what changes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

import msgspec

from cli.client import Gateway, Rows
from cli.exits import Exit
from cli.failures import Failure
from cli.session import Session
from cli.tables import Column, View
from cli.tailing import Message, Pump, follow
from schemas.api.events import CloudEvent
from schemas.api.system import SystemInfo
from schemas.names import ALL

R = TypeVar("R")

SETTLE_SECONDS = 0.3
"""How long changes are gathered before the rows they changed are asked for."""


@dataclass(frozen=True)
class Listing(Generic[R]):
    """A list: where its rows come from and how they are shown.

    `aggregate` names the events that change a row, and `changed` finds the row of such an event.
    """

    fetch: Callable[[Gateway], Rows[R]]
    view: View[R]
    namespace: Callable[[R], str]
    aggregate: str
    changed: Callable[[Gateway, CloudEvent], R | None]


def show(session: Session, listing: Listing[R], *, all_namespaces: bool, watch: bool) -> None:
    """Print the list; with `watch`, go on with every row that changes."""
    gateway = session.gateway.within(ALL) if all_namespaces else session.gateway
    view = listing.view
    if all_namespaces:
        view = view.preceded_by(Column("NAMESPACE", listing.namespace))
    if watch:
        _watch(session, replace(listing, view=view), gateway)
        return
    found = listing.fetch(gateway)
    session.printer.rows(found.rows, view, f"no {listing.aggregate} in {_where(gateway)}")
    if found.more:
        session.hint(f"these are the first {len(found.rows)}; --limit 0 lists all")


def _where(gateway: Gateway) -> str:
    return "any namespace" if gateway.namespace == ALL else f"namespace {gateway.namespace}"


def _watch(session: Session, listing: Listing[R], gateway: Gateway) -> None:
    """Rows as they are, then as they become. A change may show twice, and is never missed."""
    position = gateway.within(session.gateway.namespace).get("/system/info", SystemInfo).position
    show_rows = session.printer.changes(listing.view)
    show_rows(listing.fetch(gateway).rows)
    pending: dict[str, CloudEvent] = {}
    due = 0.0
    with Pump(gateway, partial(follow, after=position, aggregate=listing.aggregate)) as pump:
        for item in pump.items(SETTLE_SECONDS):
            if isinstance(item, Message) and item.id:
                event = msgspec.json.decode(item.data, type=CloudEvent)
                due = due if pending else time.monotonic() + SETTLE_SECONDS
                pending[f"{event.namespace}/{event.subject}"] = event
            if pending and time.monotonic() >= due:
                show_rows(_rows(session, listing, gateway, pending))
                due = time.monotonic() + SETTLE_SECONDS


def _rows(
    session: Session, listing: Listing[R], gateway: Gateway, pending: dict[str, CloudEvent]
) -> Sequence[R]:
    """The rows that the `pending` events changed; those that can not be had now stay pending.

    A row that is gone is said beside the data.
    """
    rows: list[R] = []
    for key, event in tuple(pending.items()):
        try:
            row = listing.changed(gateway.within(event.namespace), event)
        except Failure as failure:
            if failure.passing:
                continue
            if failure.exit != Exit.NOT_FOUND:
                raise
            session.hint(f"{event.subject}: {event.type}")
        else:
            rows += [] if row is None else [row]
        del pending[key]
    return rows
