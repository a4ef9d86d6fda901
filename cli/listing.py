"""Lists: all that a verb that lists something does, and staying to see what changes."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeAlias, TypeVar

import msgspec

from cli.client import Gateway, Query, Rows
from cli.exits import Exit
from cli.failures import Failure
from cli.session import Session
from cli.tables import Column, View
from cli.tailing import Message, Pump, follow, position_of
from schemas.api.events import CloudEvent
from schemas.api.system import SystemInfo
from schemas.names import ALL

R = TypeVar("R")

SETTLE_SECONDS = 0.3
"""How long changes are gathered before the rows they changed are asked for."""

Changed: TypeAlias = Callable[[Gateway, CloudEvent], R | None]
"""Finds the row that an event changed, if it is one of the list."""


@dataclass(frozen=True)
class Listing(Generic[R]):
    """A list: where its rows come from, as of a position or later, and how they are shown.

    `aggregate` names the events that change a row, and `changed` finds the row of such an event.
    Without it, events of any of `types` may change any row.
    """

    fetch: Callable[[Gateway, int | None], Rows[R]]
    view: View[R]
    namespace: Callable[[R], str]
    aggregate: str
    changed: Changed[R] | None = None
    types: tuple[str, ...] = ()


def show(session: Session, listing: Listing[R], *, all_namespaces: bool, watch: bool) -> None:
    """Print the list; with `watch`, go on with every row that changes."""
    gateway = session.gateway.within(ALL) if all_namespaces else session.gateway
    view = listing.view
    if all_namespaces:
        view = view.preceded_by(Column("NAMESPACE", listing.namespace))
    if watch:
        position = session.gateway.get("/system/info", SystemInfo).position
        listing = replace(listing, view=view)
        if listing.changed is None:
            _watch_all(session, listing, gateway, position)
        else:
            _watch_each(session, listing, listing.changed, gateway, position)
        return
    found = listing.fetch(gateway, None)
    session.printer.rows(found.rows, view, f"no {listing.aggregate} in {_where(gateway)}")
    if found.more:
        session.hint(f"these are the first {len(found.rows)}; --limit 0 lists all")


def _where(gateway: Gateway) -> str:
    return "any namespace" if gateway.namespace == ALL else f"namespace {gateway.namespace}"


def relisted(
    gateway: Gateway, fetch: Callable[[int | None], Sequence[R]], position: int, **query: Query
) -> Iterator[Sequence[R]]:
    """The rows as they are, and again whenever an event that `query` chooses has happened after
    `position`; for ever."""
    yield fetch(None)
    newest, due = 0, 0.0
    with Pump(gateway, lambda other: follow(other, position, **query)) as pump:
        for item in pump.items(SETTLE_SECONDS):
            if isinstance(item, Message) and item.id:
                due = due if newest else time.monotonic() + SETTLE_SECONDS
                newest = position_of(item.id)
            if newest and time.monotonic() >= due:
                try:
                    yield fetch(newest)
                except Failure as failure:
                    if not failure.passing:
                        raise
                    due = time.monotonic() + SETTLE_SECONDS
                else:
                    newest = 0


def _watch_all(session: Session, listing: Listing[R], gateway: Gateway, position: int) -> None:
    """Rows as they are, then those that have become others. One that is gone is said beside."""
    show_rows = session.printer.changes(listing.view)
    known: dict[tuple[str, str], R] = {}
    fetch = partial(_keyed, listing, gateway)
    for rows in relisted(gateway, fetch, position, type=listing.types):
        found = dict(rows)
        show_rows([row for key, row in found.items() if known.get(key) != row])
        for key in known.keys() - found.keys():
            session.hint(f"{listing.view.kind}/{key[1]} is not in the list any more")
        known = found


def _keyed(
    listing: Listing[R], gateway: Gateway, newest: int | None
) -> Sequence[tuple[tuple[str, str], R]]:
    rows = listing.fetch(gateway, newest).rows
    return [((listing.namespace(row), listing.view.name(row)), row) for row in rows]


def _watch_each(
    session: Session,
    listing: Listing[R],
    changed: Changed[R],
    gateway: Gateway,
    position: int,
) -> None:
    """Rows as they are, then as they become. A change may show twice, and is never missed."""
    show_rows = session.printer.changes(listing.view)
    show_rows(listing.fetch(gateway, None).rows)
    pending: dict[str, CloudEvent] = {}
    due = 0.0
    with Pump(gateway, partial(follow, after=position, aggregate=listing.aggregate)) as pump:
        for item in pump.items(SETTLE_SECONDS):
            if isinstance(item, Message) and item.id:
                event = msgspec.json.decode(item.data, type=CloudEvent)
                due = due if pending else time.monotonic() + SETTLE_SECONDS
                pending[f"{event.namespace}/{event.subject}"] = event
            if pending and time.monotonic() >= due:
                show_rows(_rows(session, changed, gateway, pending))
                due = time.monotonic() + SETTLE_SECONDS


def _rows(
    session: Session, changed: Changed[R], gateway: Gateway, pending: dict[str, CloudEvent]
) -> Sequence[R]:
    """The rows that the `pending` events changed; those that can not be had now stay pending.

    A row that is gone is said beside the data.
    """
    rows: list[R] = []
    for key, event in tuple(pending.items()):
        try:
            row = changed(gateway.within(event.namespace), event)
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
