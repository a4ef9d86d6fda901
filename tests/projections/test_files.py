"""Which files there are: those a job has finished, and those of installed weights."""

from projections import job_files, weights_files
from projections.rows import Part
from projections.table import Db
from schemas.api.jobs import JobFileRow
from schemas.job import FinishedFile
from schemas.weights import WeightsDeleted, WeightsFiles, WeightsReleased
from tests.projections.keeping import writer
from tests.projections.telling import (
    FILES,
    JOB,
    OTHER_JOB,
    TARGET,
    Told,
    at,
    install,
    installed,
    reserved,
    weights,
)

RELEASED = WeightsReleased(TARGET, JOB)


async def paths(db: Db, told: Told) -> list[str]:
    await (await writer(db, weights_files.projection)).advance(told.commits)
    return [row.path for row in await weights_files.files(db, "default", TARGET)]


def files(*names: str) -> tuple[FinishedFile, ...]:
    return tuple(FinishedFile(name, 1, "sha256", name) for name in names)


async def test_a_job_has_finished_what_its_progress_named(db: Db) -> None:
    told = Told()
    install(told)
    await (await writer(db, job_files.projection)).advance(told.commits)
    page = await job_files.page(db, "default", JOB, Part(1))
    assert page.items == (JobFileRow("default", JOB, "a.safetensors", 10, "sha256", "aa", at(6)),)
    rest = await job_files.page(db, "default", JOB, Part(1, page.next_cursor))
    assert [row.path for row in rest.items] == ["config.json"]
    assert (await job_files.page(db, "other", JOB, Part())).items == ()


async def test_installed_weights_show_their_files(db: Db) -> None:
    told = Told()
    install(told)
    assert await paths(db, told) == ["a.safetensors", "config.json"]
    row, _ = await weights_files.files(db, "default", TARGET)
    assert (row.name, row.size, row.digest) == (TARGET, 10, "aa")
    assert await weights_files.files(db, "other", TARGET) == ()


async def test_files_do_not_show_before_all_parts_are_there(db: Db) -> None:
    told = Told()
    told(weights(), reserved())
    told(weights(), WeightsFiles(TARGET, JOB, 1, 3, files("a")))
    told(weights(), WeightsFiles(TARGET, JOB, 2, 3, files("b")))
    assert await paths(db, told) == []
    told(weights(), WeightsFiles(TARGET, JOB, 3, 3, files("c")), installed(), RELEASED)
    assert await paths(db, told) == ["a", "b", "c"]


async def test_a_new_install_replaces_the_files_at_once(db: Db) -> None:
    told = Told()
    install(told)
    told(weights(), reserved(OTHER_JOB))
    told(weights(), WeightsFiles(TARGET, OTHER_JOB, 1, 2, files("new")))
    assert await paths(db, told) == ["a.safetensors", "config.json"]
    last = WeightsFiles(TARGET, OTHER_JOB, 2, 2, files("newer"))
    told(weights(), last, installed(OTHER_JOB))
    assert await paths(db, told) == ["new", "newer"]


async def test_a_second_try_of_a_job_leaves_no_part_of_the_first(db: Db) -> None:
    told = Told()
    told(weights(), reserved())
    for part in (1, 2, 3):
        told(weights(), WeightsFiles(TARGET, JOB, part, 4, files(f"old-{part}")))
    told(weights(), RELEASED)
    told(weights(), reserved())
    told(weights(), WeightsFiles(TARGET, JOB, 1, 1, FILES), installed(), RELEASED)
    assert await paths(db, told) == ["a.safetensors", "config.json"]


async def test_deleted_weights_have_no_files(db: Db) -> None:
    told = Told()
    install(told)
    assert await paths(db, told) != []
    told(weights(), WeightsDeleted(TARGET, OTHER_JOB))
    assert await paths(db, told) == []
