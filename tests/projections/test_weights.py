"""The row of a target's weights, from the events of its history. No database."""

from projections.weights import fold
from schemas.api.weights import WeightsRow
from schemas.job import DeleteSpec, InstallSpec
from schemas.weights import (
    WeightsCorrupted,
    WeightsDeleted,
    WeightsEvent,
    WeightsFiles,
    WeightsReferenced,
    WeightsReleased,
    WeightsUnreferenced,
    WeightsVerified,
)
from tests.projections.telling import (
    FILES,
    JOB,
    OTHER_JOB,
    TARGET,
    Told,
    at,
    installed,
    reserved,
    weights,
)

RELEASED = WeightsReleased(TARGET, JOB)
INSTALL: tuple[tuple[WeightsEvent, ...], ...] = (
    (reserved(),),
    (WeightsFiles(TARGET, JOB, 1, 1, FILES), installed(), RELEASED),
)


def row(*commits: tuple[WeightsEvent, ...]) -> WeightsRow | None:
    told = Told()
    for events in commits:
        told(weights(), *events)
    return fold.row_of(told.commits)


def certain(*commits: tuple[WeightsEvent, ...]) -> WeightsRow:
    found = row(*commits)
    assert found is not None
    return found


def test_a_first_install_is_there_but_not_installed() -> None:
    coming = certain((reserved(),))
    assert (coming.status, coming.job, coming.installed_at) == ("installing", JOB, None)
    assert (coming.name, coming.model, coming.revision) == (TARGET, "org/model", "main")


def test_a_first_install_that_ends_without_one_leaves_nothing() -> None:
    assert row((reserved(),), (RELEASED,)) is None


def test_parts_of_the_list_of_files_do_not_show() -> None:
    assert certain((reserved(),), (WeightsFiles(TARGET, JOB, 1, 2, FILES),)).position == 1


def test_installed_weights_say_what_they_are() -> None:
    there = certain(*INSTALL)
    assert (there.status, there.job, there.installed_by) == ("installed", "", JOB)
    assert (there.installed_at, there.manifest, there.bytes) == (at(2), "manifest", 30)
    assert (there.position, there.updated_at) == (2, at(2))


def test_while_a_replacement_is_under_way_the_row_is_about_what_is_there() -> None:
    other = InstallSpec("org/other", "v2", "beef", "other", files=1, bytes=5, overwrite=True)
    during = certain(*INSTALL, (reserved(OTHER_JOB, spec=other),))
    assert (during.status, during.job) == ("installing", OTHER_JOB)
    assert (during.model, during.revision, during.bytes) == ("org/model", "main", 30)


def test_a_replacement_that_ends_without_one_leaves_what_was_there() -> None:
    kept = certain(*INSTALL, (reserved(OTHER_JOB),), (WeightsReleased(TARGET, OTHER_JOB),))
    assert (kept.status, kept.job, kept.installed_by) == ("installed", "", JOB)


def test_corrupted_weights_stay_so_until_they_are_found_whole_again() -> None:
    bad = certain(*INSTALL, (WeightsCorrupted(TARGET, JOB, ("config.json",)),))
    assert (bad.status, bad.corrupted) == ("corrupted", ("config.json",))
    good = certain(
        *INSTALL,
        (WeightsCorrupted(TARGET, JOB, ("config.json",)),),
        (WeightsVerified(TARGET, JOB, 2, 30),),
    )
    assert (good.status, good.corrupted, good.verified_at) == ("installed", (), at(4))


def test_corruption_is_remembered_through_a_job_that_leaves_things_as_they_were() -> None:
    again = certain(
        *INSTALL,
        (WeightsCorrupted(TARGET, JOB, ("config.json",)),),
        (reserved(OTHER_JOB),),
        (WeightsReleased(TARGET, OTHER_JOB),),
    )
    assert again.status == "corrupted"


def test_a_verification_during_a_job_does_not_hide_the_job() -> None:
    during = certain(*INSTALL, (reserved(OTHER_JOB),), (WeightsVerified(TARGET, JOB, 2, 30),))
    assert (during.status, during.job) == ("installing", OTHER_JOB)


def test_references_come_and_go() -> None:
    both = (WeightsReferenced(TARGET, "slot/b"), WeightsReferenced(TARGET, "slot/a"))
    assert certain(*INSTALL, both).references == ("slot/a", "slot/b")
    left = certain(*INSTALL, both, (WeightsUnreferenced(TARGET, "slot/a"),))
    assert left.references == ("slot/b",)


def test_deleting_shows_until_the_row_is_gone() -> None:
    claim = (reserved(OTHER_JOB, spec=DeleteSpec()),)
    assert certain(*INSTALL, claim).status == "deleting"
    gone = (WeightsDeleted(TARGET, OTHER_JOB), WeightsReleased(TARGET, OTHER_JOB))
    assert row(*INSTALL, claim, gone) is None
