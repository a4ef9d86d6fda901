"""The files that jobs have finished, as their progress named them."""

from collections.abc import Iterable

from projections.fold import Projection, events_of, put
from projections.rows import Part, page_of
from projections.table import Change, Db, Table
from schemas.api.jobs import JobFileRow
from schemas.api.problem import Page
from schemas.job import AGGREGATE, JobEvent, JobProgress
from schemas.log import Commit

PROGRESS = "job.progress"


def changes(commit: Commit) -> Iterable[Change[JobFileRow]]:
    if commit.stream.aggregate != AGGREGATE or PROGRESS not in commit.types:
        return
    namespace = commit.stream.namespace
    for event in events_of(commit):
        if isinstance(event, JobProgress):
            for file in event.finished:
                row = JobFileRow(
                    namespace=namespace,
                    job=event.job,
                    path=file.path,
                    size=file.size,
                    algorithm=file.algorithm,
                    digest=file.digest,
                    finished_at=commit.at,
                )
                yield (namespace, event.job, file.path), put(row)


job_files = Table(
    name="job_files",
    row=JobFileRow,
    key=("namespace", "job", "path"),
    order=("namespace", "job", "path"),
    changes=changes,
    blind=True,
)
projection = Projection("job_files", (job_files,), __file__, JobEvent)


async def page(db: Db, namespace: str, job: str, part: Part) -> Page[JobFileRow]:
    """By path. Raises `Rejected` with `invalid_cursor`."""
    return await page_of(
        db, job_files, [("namespace = %s", namespace), ("job = %s", job)], part, ascending=True
    )
