"""Counts for a dashboard."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec

from projections import daily
from projections.table import Db
from schemas.api.system import DayCount
from tests.projections.keeping import writer
from tests.projections.telling import OTHER_JOB, START, Told, install, job, requested

SINCE = START.date()


async def test_events_are_counted_by_day_and_type_over_any_number_of_batches(db: Db) -> None:
    told = Told()
    install(told)
    install(told, OTHER_JOB, namespace="other")
    live = await writer(db, daily.projection)
    for commit in told.commits:
        await live.advance([commit])

    counts = {count.type: count.count for count in await daily.days(db, None, SINCE)}
    assert counts["job.progress"] == 6
    assert counts["weights.installed"] == 2
    ours = {count.type: count.count for count in await daily.days(db, "default", SINCE)}
    assert ours["job.progress"] == 3


async def test_a_day_is_one_of_utc_wherever_the_writer_was(db: Db) -> None:
    told = Told()
    request = told(job(), requested())
    east = timezone(timedelta(hours=14))
    early = datetime(2026, 11, 3, 1, tzinfo=east)
    told.add(msgspec.structs.replace(request, at=early))
    await (await writer(db, daily.projection)).advance(told.commits)

    day = early.astimezone(UTC).date()
    assert await daily.days(db, None, day) == (DayCount("2026-11-02", "job.requested", 1),)
