"""How things stood: at every position, what a fold of the log up to there would say."""

from datetime import timedelta

import msgspec
import pytest

from projections import aliases, event_index, jobs, models, runtime, weights
from projections.fold import Projection
from projections.rows import Part, key_of, one, page_of
from projections.table import Db
from schemas.weights import WeightsDeleted, WeightsReleased
from tests.projections.keeping import expected, write, writer
from tests.projections.telling import JOB, TARGET, Told, anything, at, install, reserved
from tests.projections.telling import weights as place

REMEMBERED = [one.projection for one in (jobs, weights, models, aliases, runtime)]


@pytest.mark.parametrize("projection", REMEMBERED, ids=[one.name for one in REMEMBERED])
async def test_every_position_shows_the_fold_of_what_came_before(
    db: Db, projection: Projection
) -> None:
    told = Told()
    anything(told, 80)
    await write(db, told.commits)
    [table] = projection.tables

    for position in range(len(told.commits) + 2):
        then = expected(table, told.commits[:position]).rows
        found = await page_of(db, table, (), Part(100, as_of=position))
        assert {key_of(table, row): row for row in found.items} == then
        for key in expected(table, told.commits).rows.keys() | then.keys():
            assert await one(db, table, key, position) == then.get(key)


async def test_weights_that_were_deleted_are_still_seen_where_they_were(db: Db) -> None:
    told = Told()
    install(told)
    before = len(told.commits)
    told(place(), reserved(), WeightsDeleted(TARGET, JOB), WeightsReleased(TARGET, JOB))
    await write(db, told.commits)

    assert await weights.get(db, "default", TARGET) is None
    then = await weights.get(db, "default", TARGET, as_of=before)
    assert then is not None
    assert then.status == "installed"
    wanted = weights.Wanted(namespace="default")
    assert (await weights.page(db, wanted, Part())).items == ()
    assert (await weights.page(db, wanted, Part(as_of=before))).items == (then,)


async def test_filters_see_the_rows_as_they_were(db: Db) -> None:
    told = Told()
    install(told)
    await write(db, told.commits)
    pending = jobs.Wanted("default", ["pending"])
    assert (await jobs.page(db, pending, Part())).items == ()
    assert len((await jobs.page(db, pending, Part(as_of=2))).items) == 1


async def test_a_time_means_the_last_commit_by_then(db: Db) -> None:
    told = Told()
    install(told)
    await write(db, told.commits)
    assert await event_index.position_at(db, at(3)) == 3
    assert await event_index.position_at(db, at(3) + timedelta(milliseconds=999)) == 3
    assert await event_index.position_at(db, at(0)) == 0
    assert await event_index.position_at(db, at(9999)) == len(told.commits)


async def test_a_clock_that_is_a_little_slow_hides_no_commit(db: Db) -> None:
    told = Told()
    install(told)
    told.add(msgspec.structs.replace(told.commits[-1], at=at(2)))
    await (await writer(db, event_index.projection)).advance(told.commits)
    assert await event_index.position_at(db, at(3)) == len(told.commits)
