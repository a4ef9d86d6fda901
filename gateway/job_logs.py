"""HTTP for what workers write about a job."""

from typing import Annotated, TypeAlias

import msgspec
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, QueryParameter, SkipValidation
from litestar.types import ASGIApp

from gateway.admission import AnyRequest, needs
from gateway.caller import From
from gateway.connections import Connections
from gateway.following import Following, as_text
from gateway.media_types import JSON, LINES, TEXT
from gateway.parameters import JobPath
from gateway.ports import Handed
from schemas.api.problem import Page
from schemas.live import LogLine
from schemas.names import END

Lines: TypeAlias = Annotated[
    int, QueryParameter(ge=1, le=2000, description="Lines on a page at most.")
]
LineCursor: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        pattern=r"^[0-9]{1,18}$" + END, description="The `nextCursor`, or a line's `cursor`."
    ),
]
Follow: TypeAlias = NamedDependency[SkipValidation[Following]]
Open: TypeAlias = NamedDependency[SkipValidation[Connections]]

RESPONSES = {
    200: ResponseSpec(Page[LogLine], description="Lines, oldest first", media_type=JSON),
}


class JobLogs(Controller):
    """Lines are kept for 30 days, the newest 2,000 of each job."""

    path = "/jobs/{id:str}/logs"
    tags = ("jobs",)

    @get(opt=needs("read"), responses=RESPONSES, operation_id="JobsIdLogs")
    async def logs(
        self,
        id: JobPath,
        caller: From,
        request: AnyRequest,
        ports: Handed,
        following: Follow,
        connections: Open,
        follow: FromQuery[bool] = False,
        limit: Lines = 2000,
        cursor: LineCursor = None,
    ) -> ASGIApp:
        """Read what the workers wrote about a job, oldest first.

        A page of JSON, or lines of text for whoever accepts `text/plain`. With `follow`, one line
        after the other as it comes, until the job has ended: NDJSON with an empty line now and then
        in a silence, or text. Each line's `cursor` is where to go on from.
        """
        await following.ended(caller.namespace, id)
        after = int(cursor or 0)
        if follow:
            kind = request.accept.best_match([LINES, TEXT], LINES)
            write = following.follow(caller.namespace, id, after, kind)
            return connections.answer(caller.access, kind, write)
        lines = await ports.job_logs.read(caller.namespace, id, after=after, limit=limit)
        if request.accept.best_match([JSON, TEXT], JSON) == TEXT:
            text = b"".join(map(as_text, lines))
            return Response(text, media_type=TEXT).to_asgi_response(None, request)
        more = str(lines[-1].cursor) if len(lines) == limit else None
        page = msgspec.json.encode(Page(tuple(lines), more))
        return Response(page, media_type=JSON).to_asgi_response(None, request)
