"""What the owner of a target allows there."""

import pytest
from msgspec.structs import replace

from commands.weights import Weights, decider
from schemas.disk import Disk
from schemas.job import DeleteSpec, FinishedFile, InstallSpec
from schemas.names import weights_id
from schemas.weights import (
    RecordCorrupted,
    RecordDeleted,
    RecordFiles,
    RecordInstalled,
    RecordVerified,
    ReferenceWeights,
    ReleaseWeights,
    ReserveWeights,
    UnreferenceWeights,
    WeightsCommand,
    WeightsCorrupted,
    WeightsDeleted,
    WeightsEvent,
    WeightsFiles,
    WeightsInstalled,
    WeightsReferenced,
    WeightsReleased,
    WeightsReserved,
    WeightsUnreferenced,
    WeightsVerified,
)
from tests.given import Given

given = Given(decider)
T, J1, J2 = "org/model", "01J00000000000000000000001", "01J00000000000000000000002"
FILES = (FinishedFile("a", 1, "sha256", "aa"), FinishedFile("b", 2, "sha256", "bb"))


def spec(key: str = "k1", *, overwrite: bool = False) -> InstallSpec:
    return InstallSpec("org/model", "main", "c0ffee", key, 2, 3, overwrite=overwrite, license="mit")


def reserve(
    job: str, key: str = "k1", *, overwrite: bool = False, turn: int = 0, clean: bool = False
) -> ReserveWeights:
    return ReserveWeights(T, job, key, "s1", 1, spec(key, overwrite=overwrite), turn, clean)


def reserved(job: str, key: str = "k1", *, overwrite: bool = False, turn: int = 0) -> WeightsEvent:
    return WeightsReserved(T, job, key, "s1", 1, spec(key, overwrite=overwrite), turn)


def installs(job: str, manifest: str = "m1", part: int = 1, of: int = 1) -> RecordInstalled:
    return RecordInstalled(T, job, manifest, 3, part, of, FILES, ("x.bin",))


def installed(
    job: str, key: str = "k1", manifest: str = "m1", revision: str = "main"
) -> WeightsInstalled:
    return WeightsInstalled(
        T, job, manifest, key, "s1", "org/model", revision, "c0ffee", 2, 3, "mit", ("x.bin",)
    )


DELETE = ReserveWeights(T, J2, "delete", "s1", 1, DeleteSpec())
DELETING = WeightsReserved(T, J2, "delete", "s1", 1, DeleteSpec())
HELD = (reserved(J1),)
THERE = (reserved(J1), WeightsFiles(T, J1, 1, 1, FILES), installed(J1), WeightsReleased(T, J1))
IN_USE = (*THERE, WeightsReferenced(T, "slot:main"))


def test_a_free_target_is_reserved_with_all_of_the_request() -> None:
    given().when(reserve(J1, turn=2, clean=True)).then(
        WeightsReserved(T, J1, "k1", "s1", 1, spec(), 2, True)
    )


def test_the_same_content_has_one_claim_whoever_asks() -> None:
    given(*HELD).when(reserve(J1)).then_nothing()
    given(*HELD).when(reserve(J2)).then_nothing()
    given(*HELD).when(reserve(J2, overwrite=True)).then_nothing()


def test_other_content_is_a_conflict_that_names_the_job_that_holds_the_target() -> None:
    given(*HELD).when(reserve(J2, "k2")).then_rejected("conflict", job=J1)
    given(*HELD).when(reserve(J2, "k2", overwrite=True)).then_rejected("conflict", job=J1)


def test_content_that_is_there_already_is_not_claimed_again() -> None:
    given(*THERE).when(reserve(J2)).then_nothing()


def test_content_that_is_known_to_be_damaged_is_not_said_to_be_there() -> None:
    damaged = given(*THERE, WeightsCorrupted(T, J2, ("a",)))
    damaged.when(reserve(J2)).then_rejected("weights_corrupted", files=("a",))
    damaged.when(reserve(J2, overwrite=True)).then(reserved(J2, overwrite=True))


def test_only_who_brings_something_new_needs_room_for_it() -> None:
    full = replace(reserve(J2), disk=Disk(free=5, reserve=4, after=2))
    given().when(full).then_rejected("no_space", needed=3, free=5, reserve=4)
    given(*HELD).when(full).then_nothing()
    given(*THERE).when(full).then_nothing()
    again = replace(full, spec=spec(overwrite=True))
    given(*THERE).when(again).then_rejected("no_space", needed=3, free=5, reserve=4)


def test_content_that_is_there_already_is_brought_again_by_overwriting_it() -> None:
    given(*THERE).when(reserve(J2, overwrite=True)).then(reserved(J2, overwrite=True))


def test_other_content_replaces_what_is_there_only_by_overwriting_it() -> None:
    given(*THERE).when(reserve(J2, "k2")).then_rejected("conflict")
    given(*THERE).when(reserve(J2, "k2", overwrite=True)).then(reserved(J2, "k2", overwrite=True))


@pytest.mark.parametrize("command", [DELETE, reserve(J2, "k2", overwrite=True)])
def test_what_is_in_use_is_neither_deleted_nor_replaced(command: WeightsCommand) -> None:
    given(*IN_USE).when(command).then_rejected("conflict")
    free = given(*IN_USE, WeightsUnreferenced(T, "slot:main"))
    assert len(free.when(command).events) == 1


def test_deleting_is_claimed_like_installing() -> None:
    given(*THERE).when(DELETE).then(DELETING)
    given(*THERE, DELETING).when(DELETE).then_nothing()
    given(*THERE, DELETING).when(reserve(J1, "k2")).then_rejected("conflict", job=J2)
    given(*HELD).when(DELETE).then_rejected("conflict", job=J1)


def test_what_is_not_there_is_not_deleted() -> None:
    given().when(DELETE).then_rejected("not_found")


def test_a_released_target_is_free_for_anyone() -> None:
    freed = given(*HELD).when(ReleaseWeights(T, J1, 0))
    freed.then(WeightsReleased(T, J1))
    freed.and_then().when(reserve(J2, "k2")).then(reserved(J2, "k2"))


def test_a_job_that_does_not_hold_the_target_releases_nothing() -> None:
    given().when(ReleaseWeights(T, J1, 0)).then_nothing()
    given(*HELD).when(ReleaseWeights(T, J2, 0)).then_nothing()
    given(*THERE).when(ReleaseWeights(T, J1, 0)).then_nothing()


def test_a_retry_claims_its_own_turn_of_the_same_job() -> None:
    given(*HELD).when(reserve(J1, turn=1)).then(reserved(J1, turn=1))
    given(reserved(J1, turn=1)).when(reserve(J1, turn=1)).then_nothing()
    given(reserved(J1, turn=1)).when(reserve(J1)).then_nothing()


def test_a_turn_that_is_over_does_not_release_the_claim_of_the_next() -> None:
    retried = given(*HELD, reserved(J1, turn=1))
    retried.when(ReleaseWeights(T, J1, 0)).then_nothing()
    retried.when(ReleaseWeights(T, J1, 1)).then(WeightsReleased(T, J1))


def test_an_install_is_sealed_and_ends_its_claim_in_one_commit() -> None:
    done = given(*HELD).when(installs(J1))
    done.then(WeightsFiles(T, J1, 1, 1, FILES), installed(J1), WeightsReleased(T, J1))
    assert done.and_then().state.claim is None


def test_an_install_that_was_sealed_before_is_not_sealed_again() -> None:
    given(*THERE).when(installs(J1)).then_nothing()


def test_a_claim_left_by_an_install_that_was_sealed_before_ends() -> None:
    given(*THERE, reserved(J1, overwrite=True, turn=1)).when(installs(J1)).then(
        WeightsReleased(T, J1)
    )


@pytest.mark.parametrize("history", [(), HELD, THERE])
@pytest.mark.parametrize(
    "command", [installs(J2), RecordFiles(T, J2, 1, 2, FILES)], ids=lambda c: type(c).__name__
)
def test_a_job_that_does_not_hold_the_target_records_nothing_there(
    history: tuple[WeightsEvent, ...], command: WeightsCommand
) -> None:
    given(*history).when(command).then_rejected("fenced")


def test_a_long_list_of_files_comes_in_parts() -> None:
    story = given(*HELD)
    for part in (1, 2):
        told = story.when(RecordFiles(T, J1, part, 3, FILES))
        told.then(WeightsFiles(T, J1, part, 3, FILES))
        story = told.and_then()
    story.when(installs(J1, part=3, of=3)).then(
        WeightsFiles(T, J1, 3, 3, FILES), installed(J1), WeightsReleased(T, J1)
    )


def test_a_part_told_before_is_not_told_again() -> None:
    given(*HELD, WeightsFiles(T, J1, 1, 3, FILES)).when(
        RecordFiles(T, J1, 1, 3, FILES)
    ).then_nothing()


def test_no_part_is_left_out() -> None:
    given(*HELD).when(RecordFiles(T, J1, 2, 3, FILES)).then_rejected("conflict")
    given(*HELD).when(installs(J1, part=2, of=2)).then_rejected("conflict")


def test_another_turn_tells_all_parts_again() -> None:
    again = given(*HELD, WeightsFiles(T, J1, 1, 3, FILES), reserved(J1, turn=1))
    again.when(RecordFiles(T, J1, 1, 3, FILES)).then(WeightsFiles(T, J1, 1, 3, FILES))


def test_a_deletion_does_not_install_and_an_install_does_not_delete() -> None:
    given(*THERE, DELETING).when(installs(J2, "m2")).then_rejected("conflict")
    replacing = given(*THERE, reserved(J2, "k2", overwrite=True))
    replacing.when(RecordDeleted(T, J2)).then_rejected("conflict")


def test_deleting_ends_its_claim_and_leaves_nothing() -> None:
    gone = given(*THERE, DELETING).when(RecordDeleted(T, J2))
    gone.then(WeightsDeleted(T, J2), WeightsReleased(T, J2))
    assert gone.and_then().state == Weights()
    gone.and_then().when(RecordDeleted(T, J2)).then_nothing()


def test_a_job_that_does_not_hold_the_target_deletes_nothing() -> None:
    given(*THERE).when(RecordDeleted(T, J2)).then_rejected("fenced")


def test_the_old_weights_stay_until_the_new_ones_are_sealed() -> None:
    replacing = given(*THERE, reserved(J2, "k2", overwrite=True))
    old = replacing.state.installed
    assert old is not None
    assert old.key == "k1"
    new = replacing.when(installs(J2, "m2")).and_then().state.installed
    assert new is not None
    assert (new.job, new.key, new.manifest) == (J2, "k2", "m2")


def test_what_verification_found_is_recorded() -> None:
    given(*THERE).when(RecordVerified(T, J2, 2, 3, "m1")).then(WeightsVerified(T, J2, 2, 3))
    given(*THERE).when(RecordCorrupted(T, J2, ("a",))).then(WeightsCorrupted(T, J2, ("a",)))


@pytest.mark.parametrize(
    "command", [RecordVerified(T, J2, 2, 3, "m0"), RecordCorrupted(T, J2, ("a",), "m0")]
)
def test_what_was_found_in_replaced_weights_is_not_held_against_the_new(
    command: WeightsCommand,
) -> None:
    given(*THERE).when(command).then_rejected("conflict")


@pytest.mark.parametrize(
    "command",
    [RecordVerified(T, J2, 2, 3), RecordCorrupted(T, J2, ()), ReferenceWeights(T, "slot:main")],
    ids=lambda c: type(c).__name__,
)
def test_nothing_is_found_in_or_relied_on_where_nothing_is(command: WeightsCommand) -> None:
    given().when(command).then_rejected("not_found")
    given(*HELD).when(command).then_rejected("not_found")


def test_weights_are_relied_on_and_let_go_of_once() -> None:
    given(*THERE).when(ReferenceWeights(T, "slot:main")).then(WeightsReferenced(T, "slot:main"))
    given(*IN_USE).when(ReferenceWeights(T, "slot:main")).then_nothing()
    given(*IN_USE).when(UnreferenceWeights(T, "slot:main")).then(
        WeightsUnreferenced(T, "slot:main")
    )
    given(*THERE).when(UnreferenceWeights(T, "slot:main")).then_nothing()


def test_weights_about_to_be_deleted_or_replaced_are_not_relied_on() -> None:
    given(*THERE, DELETING).when(ReferenceWeights(T, "a")).then_rejected("conflict", job=J2)
    given(*THERE, reserved(J2, "k2", overwrite=True)).when(ReferenceWeights(T, "a")).then_rejected(
        "conflict", job=J2
    )


MODEL, SLOT, OTHER = "model/qwen", "slot/main/qwen", "slot/side/qwen"
RELIED_ON = (*THERE, WeightsReferenced(T, MODEL))
ACTIVE = (*RELIED_ON, WeightsReferenced(T, SLOT))
REPLACING = reserved(J2, "k2", overwrite=True)


def test_a_slot_relies_on_weights_through_a_model_that_does() -> None:
    given(*THERE).when(ReferenceWeights(T, SLOT)).then_rejected("unreferenced_model")
    elsewhere = (*THERE, WeightsReferenced(T, "model/qwen2"))
    given(*elsewhere).when(ReferenceWeights(T, SLOT)).then_rejected("unreferenced_model")
    given(*RELIED_ON).when(ReferenceWeights(T, SLOT)).then(WeightsReferenced(T, SLOT))


def test_a_model_does_not_let_go_while_a_slot_relies_on_it() -> None:
    facts = {"model": "qwen", "remedy": "mllm runtime deactivate --slot main"}
    given(*ACTIVE).when(UnreferenceWeights(T, MODEL)).then_rejected(
        "conflict", slots=["main"], **facts
    )
    given(*ACTIVE, WeightsReferenced(T, OTHER)).when(UnreferenceWeights(T, MODEL)).then_rejected(
        "conflict", slots=["main", "side"], **facts
    )
    given(*ACTIVE, WeightsUnreferenced(T, SLOT)).when(UnreferenceWeights(T, MODEL)).then(
        WeightsUnreferenced(T, MODEL)
    )
    others = (*ACTIVE, WeightsReferenced(T, "model/qwen2"))
    given(*others).when(UnreferenceWeights(T, "model/qwen2")).then(
        WeightsUnreferenced(T, "model/qwen2")
    )


def test_a_slot_does_not_rely_on_weights_that_are_not_what_was_installed() -> None:
    corrupted = given(*RELIED_ON, WeightsCorrupted(T, J2, ("a", "b")))
    refusal = {
        "files": ("a", "b"),
        "remedy": "mllm weights install org/model --overwrite",
    }
    corrupted.when(ReferenceWeights(T, SLOT)).then_rejected("weights_corrupted", **refusal)
    corrupted.when(ReferenceWeights(T, "model/other")).then(WeightsReferenced(T, "model/other"))
    found_whole = given(*corrupted.history, WeightsVerified(T, J2, 2, 3))
    found_whole.when(ReferenceWeights(T, SLOT)).then(WeightsReferenced(T, SLOT))
    replaced = given(*corrupted.history, REPLACING).when(installs(J2, "m2")).and_then()
    replaced.when(ReferenceWeights(T, SLOT)).then(WeightsReferenced(T, SLOT))


def test_corrupted_weights_are_to_be_installed_again_at_their_own_revision() -> None:
    pinned = (*HELD, installed(J1, revision="v2"), WeightsReleased(T, J1))
    corrupted = given(*pinned, WeightsReferenced(T, MODEL), WeightsCorrupted(T, J2, ("a",)))
    corrupted.when(ReferenceWeights(T, SLOT)).then_rejected(
        "weights_corrupted",
        files=("a",),
        remedy="mllm weights install org/model --revision v2 --overwrite",
    )


def test_weights_are_replaced_under_a_model_and_not_under_a_slot() -> None:
    replace = reserve(J2, "k2", overwrite=True)
    given(*RELIED_ON).when(replace).then(REPLACING)
    given(*ACTIVE).when(replace).then_rejected("conflict")
    given(*RELIED_ON).when(DELETE).then_rejected("conflict")


def test_a_model_may_come_to_rely_on_weights_that_are_being_replaced_and_a_slot_not() -> None:
    given(*THERE, REPLACING).when(ReferenceWeights(T, MODEL)).then(WeightsReferenced(T, MODEL))
    given(*RELIED_ON, REPLACING).when(ReferenceWeights(T, SLOT)).then_rejected("conflict", job=J2)
    given(*THERE, DELETING).when(ReferenceWeights(T, MODEL)).then_rejected("conflict", job=J2)


def test_every_target_has_an_owner_of_its_own() -> None:
    assert decider.id(reserve(J1)) == weights_id(T)
    assert weights_id("a/b") != weights_id("a.b")
    assert weights_id("a/b").isalnum()
