"""HTTP for jobs."""

from typing import Annotated, TypeAlias

from litestar import Controller, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from gateway.admission import needs
from gateway.caller import Caller, From
from gateway.parameters import AsOf, Cursor, JobPath, Limit, Text
from gateway.ports import Handed
from gateway.reading import Fresh, Models, Reading
from projections import job_files, jobs
from projections.rows import Part
from schemas.api.jobs import (
    CancelBody,
    JobAccepted,
    JobFileRow,
    JobRow,
    JobStatus,
    JobType,
    PriorityBody,
    RetryBody,
)
from schemas.api.problem import Page
from schemas.job import ChangePriority, PauseJob, ResumeJob
from schemas.log import Outcome
from schemas.message import Rejected

Kind: TypeAlias = Annotated[JobType | None, QueryParameter(name="type")]


class Jobs(Controller):
    """Work that outlives whoever asked for it."""

    path = "/jobs"
    tags = ("jobs",)

    @get(opt=needs("read", lists=True))
    async def list_(
        self,
        caller: From,
        models: Models,
        fresh: Fresh,
        status: FromQuery[list[JobStatus] | None] = None,
        kind: Kind = None,
        model: Text = None,
        target: Text = None,
        as_of: AsOf = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[JobRow]:
        """List jobs, newest first."""
        wanted = jobs.Wanted(caller.namespaces, status or (), kind or "", model or "", target or "")
        async with models.open([jobs.projection.name], fresh, as_of) as view:
            return await jobs.page(view.db, wanted, Part(limit, cursor, view.as_of))

    @get("/{id:str}", opt=needs("read"))
    async def one(
        self, id: JobPath, caller: From, models: Models, fresh: Fresh, as_of: AsOf = None
    ) -> JobRow:
        """Show a job."""
        return await job_row(models, caller, id, fresh, as_of)

    @get("/{id:str}/files", opt=needs("read"))
    async def files(
        self,
        id: JobPath,
        caller: From,
        models: Models,
        fresh: Fresh,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[JobFileRow]:
        """List the files that a job has finished, by path."""
        await job_row(models, caller, id, fresh)
        async with models.open([job_files.projection.name], fresh) as view:
            return await job_files.page(view.db, caller.namespace, id, Part(limit, cursor))

    @post("/{id:str}/cancel", opt=needs("jobs:write"), status_code=202)
    async def cancel(
        self,
        id: JobPath,
        caller: From,
        ports: Handed,
        data: JSONBody[CancelBody | None] = None,
    ) -> JobAccepted:
        """Stop a job for good. `keepPartial` leaves on the disk what a retry could go on from."""
        keep = data is not None and data.keep_partial
        return accepted(await ports.orders.cancel(id, keep, caller.context()))

    @post("/{id:str}/retry", opt=needs("jobs:write"), status_code=202)
    async def retry(
        self,
        id: JobPath,
        caller: From,
        ports: Handed,
        data: JSONBody[RetryBody | None] = None,
    ) -> JobAccepted:
        """Let a job that failed or was cancelled go on; `clean` begins with nothing."""
        clean = data is not None and data.clean
        return accepted(await ports.orders.retry(id, clean, caller.context()))

    @post("/{id:str}/pause", opt=needs("jobs:write"), status_code=202)
    async def pause(self, id: JobPath, caller: From, ports: Handed) -> JobAccepted:
        """Stop a job for now."""
        return accepted(await ports.dispatch(PauseJob(id), caller.context()))

    @post("/{id:str}/resume", opt=needs("jobs:write"), status_code=202)
    async def resume(self, id: JobPath, caller: From, ports: Handed) -> JobAccepted:
        """Let a paused job go on."""
        return accepted(await ports.dispatch(ResumeJob(id), caller.context()))

    @post("/{id:str}/priority", opt=needs("jobs:write"), status_code=202)
    async def priority(
        self, id: JobPath, caller: From, ports: Handed, data: JSONBody[PriorityBody]
    ) -> JobAccepted:
        """Change how soon a job's turn comes: 0 goes first, 2 last."""
        command = ChangePriority(id, data.priority)
        return accepted(await ports.dispatch(command, caller.context()))


async def job_row(
    models: Reading, caller: Caller, id: str, fresh: int, as_of: str | None = None
) -> JobRow:
    """Raises `Rejected` with `not_found`."""
    async with models.open([jobs.projection.name], fresh, as_of) as view:
        row = await jobs.get(view.db, caller.namespace, id, view.as_of)
    if row is None:
        raise Rejected("not_found", f"no job {id}")
    return row


def accepted(outcome: Outcome) -> JobAccepted:
    """What a command made of its job, straight from the log."""
    job = whole(outcome)
    return JobAccepted(job, job_url(job), outcome.position)


def whole(outcome: Outcome) -> JobRow:
    row = jobs.row_of(outcome.history)
    assert row is not None, "a command about a job that is not there is refused"
    return row


def job_url(job: JobRow) -> str:
    return f"/jobs/{job.id}"
