"""`mllm events`: the log, page by page or as it grows."""

from dataclasses import dataclass

import msgspec
from cyclopts import App, Parameter

from cli.client import Query
from cli.event_rows import EVENTS
from cli.parameters import Everywhere
from cli.session import Here
from cli.tailing import Break, Item, Pump, follow
from schemas.api.events import CloudEvent
from schemas.names import ALL

app = App(name="events", help="Read and follow the event log.")


@Parameter(name="*")
@dataclass(frozen=True)
class Chosen:
    """Which events."""

    type: str | None = None
    """Only events of this type; job.* means a family."""

    aggregate: str | None = None
    """Only events about these: job, weights or token."""

    id: str | None = None
    """Only events about this one of them."""

    after: str | None = None
    """Only events past this position of the log."""

    all_namespaces: Everywhere = False
    """Events of every namespace."""

    def query(self, subject: str | None) -> dict[str, Query]:
        """As the server takes it. `subject` is `job/ID` for short."""
        aggregate, _, id = (subject or "").partition("/")
        return {
            "type": self.type,
            "aggregate": aggregate or self.aggregate,
            "id": id or self.id,
            "after": self.after,
        }


@app.command(name="list")
def list_(
    subject: str | None = None,
    /,
    *,
    chosen: Chosen = Chosen(),
    limit: int = 100,
    correlation: str | None = None,
    before_time: str | None = None,
    session: Here,
) -> None:
    """List events, the oldest first.

    Parameters
    ----------
    subject
        Only events about it: job/ID, say.
    limit
        At most this many; 0 for all.
    correlation
        Only what this request led to.
    before_time
        Only events before this time (2026-11-01T12:00Z).
    """
    gateway = session.gateway.within(ALL) if chosen.all_namespaces else session.gateway
    query = chosen.query(subject) | {"correlation": correlation, "before_time": before_time}
    found = gateway.rows("/events/log", CloudEvent, limit, **query)
    session.printer.rows(found.rows, EVENTS, "no such events")
    if found.more:
        last = found.rows[-1].id
        session.hint(f"there are more: --after {last}, or --limit 0 for all")


@app.command
def tail(
    subject: str | None = None,
    /,
    *,
    chosen: Chosen = Chosen(),
    tail: int = 10,
    ticks: bool = False,
    session: Here,
) -> None:
    """Print the newest events, and go on with whatever happens. With -o json, one a line.

    Parameters
    ----------
    subject
        Only events about it: job/ID, say.
    tail
        Begin with this many of the newest; not with --after.
    ticks
        Also live byte counts, which are not in the log.
    """
    gateway = session.gateway.within(ALL) if chosen.all_namespaces else session.gateway
    query = chosen.query(subject)
    after = query.pop("after")
    newest = None if after is not None else tail
    pump = Pump[Item](lambda: follow(gateway, after, tail=newest, **query))
    show = session.printer.changes(EVENTS)
    for item in pump.items(3600.0):
        if isinstance(item, Break):
            session.hint(f"{item.cause}; connecting again")
        elif item is not None and (item.id or (ticks and item.type == "job.tick")):
            show([msgspec.json.decode(item.data, type=CloudEvent)])
