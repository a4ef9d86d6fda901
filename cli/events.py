"""`mllm events`: the log, page by page or as it grows."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import msgspec
from cyclopts import App, Parameter

from cli.event_rows import EVENTS
from cli.failures import Misused
from cli.parameters import Everywhere
from cli.session import Here
from cli.tailing import Break, Pump, follow
from schemas.api.events import CloudEvent
from schemas.names import ALL

app = App(name="events", help="Read and follow the event log.")


Aggregate: TypeAlias = Literal["job", "weights", "model", "alias", "runtime", "status", "token"]
AGGREGATES: tuple[str, ...] = get_args(Aggregate)


@Parameter(name="*")
@dataclass(frozen=True)
class Chosen:
    """Which events."""

    type: str | None = None
    """Only events of these types, with commas between; job.* means a family."""

    aggregate: Aggregate | None = None
    """Only events about these."""

    id: str | None = None
    """Only events about this one of them: a job's id, a slot; weights or a model by name."""

    after: str | None = None
    """Only events past this position of the log."""

    all_namespaces: Everywhere = False
    """Events of every namespace."""

    def query(self, subject: str | None) -> dict[str, str | None]:
        """As the server takes it. `subject` is `job/ID` for short. Raises `Misused`."""
        aggregate, _, id = (subject or "").partition("/")
        if subject is not None and not (aggregate in AGGREGATES and id):
            raise Misused(
                f"{subject!r} is nothing that events are about",
                f"write it like job/ID; there are {', '.join(AGGREGATES)}",
            )
        if self.id and not self.aggregate:
            raise Misused("--id does not say of what", "add --aggregate, or write job/ID")
        return {
            "type": self.type,
            "aggregate": aggregate or self.aggregate,
            "id": id or self.id or None,
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
    """List the newest events, or those past --after; the oldest of them first.

    Parameters
    ----------
    subject
        Only events about it: job/ID, weights/NAME, model/NAME, runtime/SLOT, status/SLOT.
    limit
        At most this many; 0 for all.
    correlation
        Only what this request led to.
    before_time
        Only events before this time (2026-11-01T12:00:00Z).
    """
    gateway = session.gateway.within(ALL) if chosen.all_namespaces else session.gateway
    query = chosen.query(subject) | {"correlation": correlation, "before_time": before_time}
    query["after"] = chosen.after
    order = "desc" if chosen.after is None else "asc"
    found = gateway.rows("/events/log", CloudEvent, limit, order=order, **query)
    rows = found.rows if order == "asc" else found.rows[::-1]
    session.printer.rows(rows, EVENTS, "no such events")
    if found.more:
        which = "newest" if order == "desc" else "first"
        session.hint(f"these are the {which} {len(rows)}; --limit 0 lists all")


@app.command
def tail(
    subject: str | None = None,
    /,
    *,
    chosen: Chosen = Chosen(),
    tail: int = 10,
    ticks: bool = False,
    logs: bool = False,
    session: Here,
) -> None:
    """Print the newest events, and go on with whatever happens. With -o json, one a line.

    Parameters
    ----------
    subject
        Only events about it: job/ID, weights/NAME, model/NAME, runtime/SLOT, status/SLOT.
    tail
        Begin with this many of the newest; not with --after.
    ticks
        Also live byte counts, which are not in the log.
    logs
        Also what the logs of jobs say, which is not in the log of events either.
    """
    gateway = session.gateway.within(ALL) if chosen.all_namespaces else session.gateway
    after, query = chosen.after, chosen.query(subject)
    newest = None if after is not None else tail
    asides = {type for type, wanted in (("job.tick", ticks), ("job.log", logs)) if wanted}
    show = session.printer.changes(EVENTS)
    with Pump(gateway, lambda reader: follow(reader, after, tail=newest, **query)) as pump:
        for item in pump.items(3600.0):
            if isinstance(item, Break):
                session.hint(f"{item.cause}; connecting again")
            elif item is not None and item.type == "stream.reset":
                end = msgspec.json.decode(item.payload(), type=_End).sequence
                session.hint(f"there is no position {after} in this log; it goes on from {end}")
            elif item is not None and (item.id or item.type in asides):
                show([msgspec.json.decode(item.data, type=CloudEvent)])


class _End(msgspec.Struct):
    """Where the log ends."""

    sequence: int
