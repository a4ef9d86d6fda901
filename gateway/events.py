"""HTTP for events: the live stream, and pages of the log."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, HeaderParameter, QueryParameter, SkipValidation
from litestar.types import ASGIApp

from gateway.admission import AnyRequest, needs
from gateway.caller import From
from gateway.frames import Filter, types_of
from gateway.job_logs import Open
from gateway.media_types import JSON, LINES, STREAM
from gateway.parameters import TIME, Cursor, Limit, Text
from gateway.ports import Handed
from gateway.reading import Fresh, Models, moment
from gateway.subscription import Subscriptions, Wish, place
from projections import event_index
from projections.event_index import EventRow
from projections.rows import Part
from schemas import alias, model, weights
from schemas.api.events import CloudEvent, cloud_events
from schemas.api.problem import Page
from schemas.log import Commit
from schemas.names import END, name_id

NAMED = frozenset({weights.AGGREGATE, model.AGGREGATE, alias.AGGREGATE})
STORED = re.compile("[0-9a-f]{32}")
PLACE = r"^[0-9]{1,18}(\.[0-9]{1,6})?$"

Types: TypeAlias = Annotated[
    list[str] | None,
    QueryParameter(
        name="type",
        max_items=100,
        description="Event types, families as `job.*`, or several of them with commas.",
    ),
]
About: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^[^\x00-\x1f\x7f]+$" + END,
        max_length=200,
        description="Which one of the `aggregate`: a job's id, a slot; weights, a model by name.",
    ),
]
Tail: TypeAlias = Annotated[
    int | None, QueryParameter(gt=-1, le=10_000, description="Events of the past to begin with.")
]
Place: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        pattern=PLACE + END,
        description="The last event seen: `<position>` or `<position>.<index>`.",
    ),
]
LastEventId: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID", pattern=PLACE + END, description="The same; it goes first."
    ),
]
BeforeTime: TypeAlias = Annotated[
    str | None,
    QueryParameter(pattern=TIME, description="Only what was written before this time (RFC 3339)."),
]
Subscribe: TypeAlias = NamedDependency[SkipValidation[Subscriptions]]


class Message(msgspec.Struct):
    """A server-sent event. `data` is a CloudEvent as JSON; what is not in the log has no `id`."""

    event: str
    data: str
    id: str = ""


STREAM_RESPONSE = {200: ResponseSpec(Message, description="Server-sent events", media_type=STREAM)}
LOG_RESPONSE = {
    200: ResponseSpec(Page[CloudEvent], description="Events", media_type=f"{JSON}, {LINES}")
}


class Events(Controller):
    """Everything that happened, and what happens now."""

    tags = ("events",)

    @get("/events", opt=needs("read", lists=True, system=True), responses=STREAM_RESPONSE)
    async def stream(
        self,
        caller: From,
        subscriptions: Subscribe,
        connections: Open,
        types: Types = None,
        aggregate: Text = None,
        id: About = None,
        tail: Tail = None,
        after: Place = None,
        epoch: Text = None,
        last_event_id: LastEventId = None,
    ) -> ASGIApp:
        """Follow events as they happen.

        With `tail`, `after` or `Last-Event-ID` the past comes first, between `stream.seed.start`
        and `stream.seed.complete`. A place that is not one in this log, or one of another `epoch`,
        gets `stream.reset`.
        """
        exact, families = types_of(types or ())
        filter = Filter(
            caller.namespaces,
            caller.access.sees_system,
            exact,
            families,
            aggregate or "",
            stored_id(aggregate, id) or "",
        )
        left_off = last_event_id or after
        wish = Wish(filter, place(left_off) if left_off else None, tail, epoch or "")
        write = await subscriptions.open(wish)
        return connections.answer(caller.access, f"{STREAM}; charset=utf-8", write)

    @get("/events/log", opt=needs("read", lists=True, system=True), responses=LOG_RESPONSE)
    async def log(
        self,
        caller: From,
        request: AnyRequest,
        ports: Handed,
        models: Models,
        fresh: Fresh,
        types: Types = None,
        aggregate: Text = None,
        id: About = None,
        correlation: Text = None,
        actor: Text = None,
        after: Place = None,
        before_time: BeforeTime = None,
        order: FromQuery[Literal["asc", "desc"]] = "asc",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> ASGIApp:
        """Page the log: JSON, or one event a line with the next cursor in `X-Next-Cursor`."""
        seen = place(after) if after else None
        wanted = event_index.Wanted(
            namespace=caller.namespaces,
            types=[name for text in types or () for name in text.split(",") if name],
            aggregate=aggregate,
            id=stored_id(aggregate, id),
            correlation=correlation,
            actor=actor,
            after=seen.position if seen else None,
            before_time=moment(before_time) if before_time else None,
            system=caller.access.sees_system,
        )
        async with models.open([event_index.projection.name], fresh) as view:
            page = await event_index.page(
                view.db, wanted, Part(limit, cursor), ascending=order == "asc"
            )
        rows = [row for row in page.items if seen is None or seen.past(row.position, row.index)]
        commits = await ports.log.fetch(sorted({row.position for row in rows}))
        events = _events(rows, commits)
        return _paged(request, Page(events, page.next_cursor))


def stored_id(aggregate: str | None, id: str | None) -> str | None:
    """The id that events are kept under: of what has a name, that is made of it."""
    if id is None or aggregate not in NAMED or STORED.fullmatch(id):
        return id
    return name_id(id)


def _events(rows: Sequence[EventRow], commits: Sequence[Commit]) -> tuple[CloudEvent, ...]:
    """What the index found, as the log has it."""
    found = {event.id: event for commit in commits for event in cloud_events(commit)}
    ids = (f"{row.position}.{row.index}" for row in rows)
    return tuple(found[id] for id in ids if id in found)


def _paged(request: AnyRequest, page: Page[CloudEvent]) -> ASGIApp:
    if request.accept.best_match([JSON, LINES], JSON) == LINES:
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in page.items)
        headers = {"X-Next-Cursor": page.next_cursor} if page.next_cursor else {}
        response = Response(lines, media_type=LINES, headers=headers)
    else:
        response = Response(msgspec.json.encode(page), media_type=JSON)
    return response.to_asgi_response(None, request)
