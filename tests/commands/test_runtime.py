"""Who serves in a slot, and who may change that."""

from typing import Any

import pytest
from msgspec.structs import replace

from commands.flights import relies_on
from commands.runtime import decider
from commands.slot import LEAVING_KEPT
from schemas.manifest import Manifest, Replicas, WeightsSource
from schemas.runtime import (
    ActivateModel,
    ActivationCompleted,
    ActivationFailed,
    ActivationPhase,
    ActivationRequested,
    ActivationRolledBack,
    ActivationStarted,
    CompleteActivation,
    CompleteDeactivation,
    DeactivateSlot,
    DeactivationCompleted,
    DeactivationFailed,
    DeactivationStarted,
    DriftDetected,
    EnterPhase,
    FailActivation,
    FailDeactivation,
    Phase,
    PhaseTime,
    Place,
    PromoteCandidate,
    Promoted,
    ReportDrift,
    RollBack,
    RuntimeCommand,
    RuntimeEvent,
    Scaled,
    ScaleSlot,
    Served,
    SlotState,
    StartActivation,
    Strategy,
)
from tests.given import Given

given = Given(decider)
S = "main"
A1, A2, A3, A4 = (f"01J0000000000000000000000{n}" for n in (1, 2, 3, 4))
D1, D2 = "01J000000000000000000000D1", "01J000000000000000000000D2"


def manifest(model: str, target: str = "") -> Manifest:
    return Manifest(model, WeightsSource(target or f"org/{model}"), replicas=Replicas(1, 4))


def activate(
    id: str, model: str, strategy: Strategy = "direct", *, version: int = 1, **wishes: Any
) -> ActivateModel:
    wanted = ActivateModel(
        S, id, model, version, manifest(model), f"org/{model}", "s1", strategy, "ada"
    )
    return replace(wanted, **wishes)


def served(id: str, model: str, place: Place = "a", *, version: int = 1) -> Served:
    return Served(id, model, version, manifest(model), f"org/{model}", "s1", place)


def requested(
    id: str,
    model: str,
    strategy: Strategy = "direct",
    place: Place = "a",
    *,
    version: int = 1,
    **wishes: Any,
) -> ActivationRequested:
    event = ActivationRequested(S, served(id, model, place, version=version), strategy, "ada")
    return replace(event, **wishes)


def phases(id: str, *entered: Phase) -> tuple[ActivationPhase, ...]:
    """Each 10 ms after the one before."""
    return tuple(ActivationPhase(S, id, phase, 10 * n) for n, phase in enumerate(entered))


def completed(id: str, model: str) -> ActivationCompleted:
    return ActivationCompleted(S, id, model, 100)


def enter(id: str, phase: Phase, ms: int = 0) -> EnterPhase:
    return EnterPhase(S, id, phase, ms)


ONE_SERVES: tuple[RuntimeEvent, ...] = (
    requested(A1, "one"),
    *phases(A1, "switch"),
    completed(A1, "one"),
)
TWO_COMES = (*ONE_SERVES, requested(A2, "two", "blue-green", "b"))
TWO_SWITCHED = (*TWO_COMES, *phases(A2, "start", "load", "switch"))
TWO_SERVES = (*TWO_SWITCHED, completed(A2, "two"))
ONE_LEAVES = (*ONE_SERVES, DeactivationStarted(S, D1, "one", "ada"))
BUSY = {
    "activation": A2,
    "model": "two",
    "by": "ada",
    "strategy": "blue-green",
    "phase": "requested",
}
LEAVES = {"deactivation": D1, "model": "one", "by": "ada"}


def test_a_model_is_activated_in_a_slot_of_which_nobody_has_heard() -> None:
    given().when(activate(A1, "one", preempt=True, hold=True, timeout=5.0)).then(
        requested(A1, "one", preempt=True, hold=True, timeout=5.0)
    )


def test_who_serves_is_activated_anew_where_nothing_answers_or_it_is_not_what_was_applied() -> None:
    again = activate(A2, "one")
    given(*ONE_SERVES).when(again).then_nothing()
    given(*ONE_SERVES).when(replace(again, anew=True)).then(requested(A2, "one"))
    given(*ONE_SERVES, DriftDetected(S, "one", ("a",))).when(again).then(requested(A2, "one"))


def test_without_a_current_model_there_is_nothing_to_stand_beside() -> None:
    given().when(activate(A1, "one", "blue-green")).then(requested(A1, "one", "blue-green", "a"))


def test_blue_green_stands_beside_and_direct_in_the_stead_of_the_current_model() -> None:
    given(*ONE_SERVES).when(activate(A2, "two")).then(requested(A2, "two", "direct", "a"))
    given(*ONE_SERVES).when(activate(A2, "two", "blue-green")).then(
        requested(A2, "two", "blue-green", "b")
    )
    given(*TWO_SERVES).when(activate(A3, "one", "blue-green")).then(
        requested(A3, "one", "blue-green", "a")
    )
    given(*TWO_SERVES).when(activate(A3, "one")).then(requested(A3, "one", "direct", "b"))


def test_the_same_activation_asked_for_meanwhile_is_joined() -> None:
    given(*TWO_COMES).when(activate(A3, "two", "blue-green")).then_nothing()


@pytest.mark.parametrize(
    "other",
    [
        activate(A3, "three", "blue-green"),
        activate(A3, "two", "direct"),
        activate(A3, "two", "blue-green", version=2),
    ],
)
def test_any_other_activation_meanwhile_is_a_conflict_that_says_who_and_what(
    other: ActivateModel,
) -> None:
    given(*TWO_COMES).when(other).then_rejected("conflict", **BUSY)
    under_way = {**BUSY, "phase": "load"}
    given(*TWO_COMES, *phases(A2, "start", "load")).when(other).then_rejected(
        "conflict", **under_way
    )


def test_nothing_is_activated_while_the_slot_is_deactivated() -> None:
    given(*ONE_LEAVES).when(activate(A2, "two")).then_rejected("conflict", **LEAVES)
    given(*ONE_LEAVES).when(activate(A2, "one")).then_rejected("conflict", **LEAVES)


def test_what_serves_already_is_not_activated_again() -> None:
    given(*ONE_SERVES).when(activate(A2, "one")).then_nothing()
    given(*ONE_SERVES).when(activate(A2, "one", "blue-green")).then_nothing()


def test_what_is_scaled_to_nothing_does_not_serve_and_is_activated_again() -> None:
    nothing = (*ONE_SERVES, Scaled(S, 0, "ada"))
    given(*nothing).when(activate(A2, "one")).then(requested(A2, "one"))
    given(*nothing).when(activate(A2, "one", "blue-green")).then(
        requested(A2, "one", "blue-green", "b")
    )
    given(*nothing, Scaled(S, 2, "ada")).when(activate(A2, "one")).then_nothing()
    given(*nothing, requested(A2, "one")).when(activate(A3, "one")).then_nothing()


def test_what_is_brought_back_from_nothing_has_its_own_replicas_and_the_same_before_it() -> None:
    again = (*TWO_SERVES, Scaled(S, 0, "ada"), requested(A3, "two", place="b"))
    switched = (*again, *phases(A3, "stop", "start", "switch"))
    back = given(*switched, completed(A3, "two")).state
    assert (back.current, back.replicas) == (served(A3, "two", "b"), None)
    assert back.previous == served(A1, "one")
    gone = given(*switched, ActivationFailed(S, A3, "two", "x", "y")).state
    assert (gone.current, gone.replicas) == (served(A2, "two", "b"), 0)


def test_another_version_of_what_serves_is_activated() -> None:
    given(*ONE_SERVES).when(activate(A2, "one", version=2)).then(requested(A2, "one", version=2))


@pytest.mark.parametrize(
    "command",
    [
        StartActivation(S, A3, "w1"),
        enter(A3, "prepare"),
        CompleteActivation(S, A3, 1),
        FailActivation(S, A3, "x", "y", 1),
    ],
    ids=lambda command: type(command).__name__,
)
@pytest.mark.parametrize("history", [(), ONE_SERVES, TWO_COMES, ONE_LEAVES])
def test_only_the_activation_under_way_gets_on(
    command: RuntimeCommand, history: tuple[RuntimeEvent, ...]
) -> None:
    given(*history).when(command).then_rejected("fenced")


def test_an_activation_is_started_once() -> None:
    starting = given(*TWO_COMES).when(StartActivation(S, A2, "w1"))
    starting.then(ActivationStarted(S, A2, "w1"))
    starting.and_then().when(StartActivation(S, A2, "w2")).then_nothing()


def test_a_phase_is_entered_once() -> None:
    entering = given(*TWO_COMES).when(enter(A2, "start", 7))
    entering.then(ActivationPhase(S, A2, "start", 7))
    story = entering.and_then()
    story.when(enter(A2, "start", 8)).then_nothing()
    loading = story.when(enter(A2, "load", 9)).and_then()
    loading.when(enter(A2, "start", 10)).then_nothing()
    flight = loading.state.flight
    assert flight is not None
    assert flight.phase == "load"


@pytest.mark.parametrize("phase", ["drain", "remove"])
def test_nothing_is_drained_or_removed_before_the_switch(phase: Phase) -> None:
    given(*TWO_COMES).when(enter(A2, phase)).then_rejected("conflict")


@pytest.mark.parametrize("phase", ["prepare", "stop", "start", "load", "ready"])
def test_nothing_is_brought_up_after_the_switch(phase: Phase) -> None:
    given(*TWO_SWITCHED).when(enter(A2, phase)).then_rejected("conflict")


def test_the_switch_lets_the_candidate_serve_and_the_current_one_leave() -> None:
    slot = given(*TWO_COMES).when(enter(A2, "switch")).and_then().state
    assert slot.current == served(A2, "two", "b")
    assert slot.previous == served(A1, "one")
    assert slot.leaving == (served(A1, "one"),)
    assert slot.switched
    for phase in ("drain", "remove"):
        given(*TWO_SWITCHED).when(enter(A2, phase)).then(ActivationPhase(S, A2, phase, 0))
    given(*TWO_SWITCHED).when(enter(A2, "switch")).then_nothing()


def test_taking_the_current_model_down_to_make_room_does_not_take_it_off_the_log() -> None:
    slot = given(*ONE_SERVES, requested(A2, "two"), *phases(A2, "prepare", "stop")).state
    assert slot.current == served(A1, "one")
    assert slot.leaving == ()


def test_an_activation_completes_after_the_switch_only() -> None:
    given(*TWO_COMES).when(CompleteActivation(S, A2, 5)).then_rejected("conflict")
    given(*TWO_COMES, *phases(A2, "start", "load")).when(
        CompleteActivation(S, A2, 5)
    ).then_rejected("conflict")


def test_completing_says_how_long_each_phase_took_and_leaves_nothing_behind() -> None:
    completing = given(*TWO_SWITCHED, ActivationPhase(S, A2, "remove", 45)).when(
        CompleteActivation(S, A2, 100)
    )
    times = (
        PhaseTime("start", 10),
        PhaseTime("load", 10),
        PhaseTime("switch", 25),
        PhaseTime("remove", 55),
    )
    completing.then(ActivationCompleted(S, A2, "two", 100, times))
    assert completing.and_then().state == SlotState(
        S, current=served(A2, "two", "b"), previous=served(A1, "one")
    )
    completing.and_then().when(CompleteActivation(S, A2, 100)).then_rejected("fenced")


def test_clocks_that_disagree_make_no_phase_shorter_than_nothing() -> None:
    failing = given(*TWO_COMES, *phases(A2, "start", "load")).when(
        FailActivation(S, A2, "crashed", "it is gone", 3, "load")
    )
    times = (PhaseTime("start", 10), PhaseTime("load", 0))
    failed = ActivationFailed(S, A2, "two", "crashed", "it is gone", times)
    failing.then(failed, ActivationRolledBack(S, A2, "one"))


@pytest.mark.parametrize("phase", [None, "start", "switch"])
def test_a_failure_seen_in_a_phase_that_is_over_has_passed(phase: Phase | None) -> None:
    loading = given(*TWO_COMES, *phases(A2, "start", "load"))
    loading.when(FailActivation(S, A2, "crashed", "gone", 3, phase)).then_rejected("fenced")


def test_the_first_that_fails_leaves_nothing_to_go_back_to() -> None:
    failing = given(requested(A1, "one")).when(FailActivation(S, A1, "crashed", "gone", 3))
    failing.then(ActivationFailed(S, A1, "one", "crashed", "gone"))
    assert failing.and_then().state == SlotState(S, leaving=(served(A1, "one"),))


@pytest.mark.parametrize("entered", [(), ("prepare", "stop", "start")])
def test_a_failure_before_the_switch_leaves_who_served(entered: tuple[Phase, ...]) -> None:
    story = given(*ONE_SERVES, requested(A2, "two"), *phases(A2, *entered))
    phase = entered[-1] if entered else None
    slot = story.when(FailActivation(S, A2, "crashed", "gone", 100, phase)).and_then().state
    assert slot == SlotState(
        S, current=served(A1, "one"), leaving=(served(A2, "two"),), stopped="stop" in entered
    )


def test_a_failure_after_the_switch_restores_all_that_was() -> None:
    before = given(
        *TWO_SERVES,
        Scaled(S, 3, "ada"),
        DriftDetected(S, "two", ("spec",)),
    )
    story = given(*before.history, requested(A3, "three", "blue-green", "a"))
    switched = given(*story.history, *phases(A3, "start", "switch", "drain"))
    assert switched.state.replicas is None
    failing = switched.when(FailActivation(S, A3, "crashed", "gone", 100, "drain"))
    assert [type(event) for event in failing.events] == [ActivationFailed, ActivationRolledBack]
    after = replace(before.state, leaving=(served(A3, "three"),), stopped=True)
    assert failing.and_then().state == after


def test_a_failure_after_the_switch_of_an_empty_slot_leaves_it_empty() -> None:
    empty = given(*ONE_LEAVES, DeactivationCompleted(S, D1, "one"))
    switched = given(*empty.history, requested(A2, "two"), *phases(A2, "start", "switch"))
    failing = switched.when(FailActivation(S, A2, "crashed", "gone", 20, "switch"))
    assert [type(event) for event in failing.events] == [ActivationFailed]
    after = failing.and_then().state
    assert after.current is None
    assert after.previous == served(A1, "one")


def test_what_served_before_is_never_what_serves() -> None:
    empty = (*ONE_LEAVES, DeactivationCompleted(S, D1, "one"))
    again = given(*empty, requested(A2, "one"), *phases(A2, "switch"), completed(A2, "one"))
    assert again.state.previous is None
    other = given(*empty, requested(A2, "two"), *phases(A2, "switch"), completed(A2, "two"))
    assert other.state.previous == served(A1, "one")


def test_a_slot_that_fails_for_ever_does_not_grow_for_ever() -> None:
    story = given(*ONE_SERVES)
    for n in range(LEAVING_KEPT + 5):
        id = f"01J000000000000000000001{n:02}"
        asked = story.when(activate(id, "two")).and_then()
        story = asked.when(FailActivation(S, id, "crashed", "gone", 1)).and_then()
    assert len(story.state.leaving) == LEAVING_KEPT


HELD = (*ONE_SERVES, requested(A2, "two", "blue-green", "b", hold=True))
WAITS = (*HELD, *phases(A2, "start", "load", "ready"))


def test_a_candidate_that_is_held_does_not_switch_unless_it_is_promoted() -> None:
    given(*WAITS).when(enter(A2, "switch")).then_rejected("conflict")
    promoting = given(*WAITS).when(PromoteCandidate(S, "two", "bob", "one"))
    promoting.then(Promoted(S, A2, "two", "one", "bob"))
    promoted = promoting.and_then()
    promoted.when(PromoteCandidate(S, "two", "bob")).then_nothing()
    promoted.when(enter(A2, "switch", 40)).then(ActivationPhase(S, A2, "switch", 40))


def test_who_does_not_wait_is_not_promoted() -> None:
    promote = PromoteCandidate(S, "two", "bob")
    given(*HELD).when(promote).then_rejected(
        "not_ready", activation=A2, hold=True, phase="requested"
    )
    given(*HELD, *phases(A2, "start", "load")).when(promote).then_rejected(
        "not_ready", activation=A2, hold=True, phase="load"
    )
    given(*TWO_COMES, *phases(A2, "load")).when(promote).then_rejected(
        "not_ready", activation=A2, hold=False, phase="load"
    )


@pytest.mark.parametrize("history", [(), ONE_SERVES, TWO_SERVES, ONE_LEAVES])
def test_who_is_no_candidate_is_not_promoted(history: tuple[RuntimeEvent, ...]) -> None:
    given(*history).when(PromoteCandidate(S, "two", "bob")).then_rejected("not_found")
    given(*WAITS).when(PromoteCandidate(S, "three", "bob")).then_rejected("not_found")


def test_a_candidate_is_promoted_over_the_one_that_was_meant_only() -> None:
    promote = PromoteCandidate(S, "two", "bob", "three")
    given(*WAITS).when(promote).then_rejected("conflict", current="one")
    alone = (requested(A2, "two", hold=True), *phases(A2, "ready"))
    given(*alone).when(promote).then_rejected("conflict", current="")
    given(*alone).when(PromoteCandidate(S, "two", "bob")).then(Promoted(S, A2, "two", "", "bob"))


def test_rolling_back_gives_up_the_activation_under_way() -> None:
    story = given(*TWO_COMES, *phases(A2, "start", "load"))
    back = RollBack(S, A3, "bob", ms=25)
    times = (PhaseTime("start", 10), PhaseTime("load", 15))
    failed = ActivationFailed(S, A2, "two", "rolled_back", "rolled back by bob", times)
    story.when(back).then(failed, ActivationRolledBack(S, A2, "one", "bob"))
    given(*TWO_SWITCHED).when(back).then(
        replace(failed, phases=(*times[:1], PhaseTime("load", 10), PhaseTime("switch", 5))),
        ActivationRolledBack(S, A2, "one", "bob"),
    )
    assert given(*TWO_SWITCHED).when(back).and_then().state.current == served(A1, "one")


def test_rolling_back_gives_up_the_activation_that_was_meant_or_none() -> None:
    back = RollBack(S, A3, "bob", ends=A2)
    assert len(given(*TWO_COMES).when(back).events) == 2
    given(*TWO_SERVES).when(back).then_rejected("conflict", activation=A2, current="two")
    another = (*TWO_SERVES, requested(A3, "three"))
    other = {**BUSY, "activation": A3, "model": "three", "strategy": "direct"}
    given(*another).when(back).then_rejected("conflict", **other)
    nobody = RollBack(S, A3, "bob", ends="")
    given(*TWO_COMES).when(nobody).then_rejected("conflict", **BUSY)
    assert len(given(*TWO_SERVES).when(nobody).events) == 1


def test_rolling_back_the_first_activation_leaves_an_empty_slot() -> None:
    given(requested(A1, "one")).when(RollBack(S, A3, "bob")).then(
        ActivationFailed(S, A1, "one", "rolled_back", "rolled back by bob")
    )


def test_rolling_back_what_has_completed_activates_what_served_before() -> None:
    back = requested(A3, "one", "blue-green", "a", back=True, timeout=9.0)
    given(*TWO_SERVES).when(RollBack(S, A3, "ada", timeout=9.0)).then(back)
    direct = requested(A3, "one", "direct", "b", back=True)
    given(*TWO_SERVES).when(RollBack(S, A3, "ada", "direct")).then(direct)
    returned = given(*TWO_SERVES, back, *phases(A3, "switch"), completed(A3, "one")).state
    assert returned.current == served(A3, "one", "a")
    assert returned.previous == served(A2, "two", "b")


def test_a_slot_that_was_emptied_is_rolled_back_to_what_served() -> None:
    given(*ONE_LEAVES, DeactivationCompleted(S, D1, "one")).when(RollBack(S, A3, "ada")).then(
        requested(A3, "one", "blue-green", "a", back=True)
    )


def test_there_may_be_nothing_to_go_back_to() -> None:
    given().when(RollBack(S, A3, "ada")).then_rejected("nothing_to_roll_back")
    given(*ONE_SERVES).when(RollBack(S, A3, "ada")).then_rejected("nothing_to_roll_back")


def test_nothing_is_rolled_back_while_the_slot_is_deactivated() -> None:
    leaves = (*TWO_SERVES, DeactivationStarted(S, D1, "two", "ada"))
    given(*leaves).when(RollBack(S, A3, "ada")).then_rejected(
        "conflict", **{**LEAVES, "model": "two"}
    )


def test_a_slot_is_deactivated_once() -> None:
    leaving = given(*ONE_SERVES).when(DeactivateSlot(S, D1, "ada"))
    leaving.then(DeactivationStarted(S, D1, "one", "ada"))
    leaving.and_then().when(DeactivateSlot(S, D2, "bob")).then_nothing()
    left = leaving.and_then().when(CompleteDeactivation(S, D1))
    left.then(DeactivationCompleted(S, D1, "one"))
    one = served(A1, "one")
    assert left.and_then().state == SlotState(S, previous=one, leaving=(one,))
    left.and_then().when(DeactivateSlot(S, D2, "bob")).then_rejected("not_found")


def test_a_slot_is_not_deactivated_under_an_activation() -> None:
    given(*TWO_COMES).when(DeactivateSlot(S, D1, "bob")).then_rejected("conflict", **BUSY)


def test_what_serves_nothing_is_not_deactivated() -> None:
    given().when(DeactivateSlot(S, D1, "bob")).then_rejected("not_found")


@pytest.mark.parametrize(
    "command", [CompleteDeactivation(S, D2), FailDeactivation(S, D2, "x", "y")]
)
@pytest.mark.parametrize("history", [(), ONE_SERVES, TWO_COMES, ONE_LEAVES])
def test_only_the_deactivation_under_way_ends(
    command: RuntimeCommand, history: tuple[RuntimeEvent, ...]
) -> None:
    given(*history).when(command).then_rejected("fenced")


def test_a_deactivation_that_fails_leaves_who_served() -> None:
    failing = given(*ONE_LEAVES).when(FailDeactivation(S, D1, "unavailable", "no answer"))
    failing.then(DeactivationFailed(S, D1, "unavailable", "no answer"))
    assert failing.and_then().state == given(*ONE_SERVES).state


def test_what_serves_is_scaled_within_what_it_and_its_world_can_do() -> None:
    scaling = given(*ONE_SERVES).when(ScaleSlot(S, 3, 10, "ada"))
    scaling.then(Scaled(S, 3, "ada"))
    scaling.and_then().when(ScaleSlot(S, 3, 10, "ada")).then_nothing()
    scaling.and_then().when(ScaleSlot(S, 0, 10, "ada")).then(Scaled(S, 0, "ada"))
    given(*ONE_SERVES).when(ScaleSlot(S, 1, 10, "ada")).then_nothing()
    given(*ONE_SERVES).when(ScaleSlot(S, 5, 10, "ada")).then_rejected(
        "invalid", replicas=5, most=4, manifest=4, runtime=10
    )
    for replicas in (2, 5):
        given(*ONE_SERVES).when(ScaleSlot(S, replicas, 1, "ada")).then_rejected(
            "invalid",
            replicas=replicas,
            most=1,
            manifest=4,
            runtime=1,
            remedy="this runtime has at most 1",
        )
    given(*ONE_SERVES).when(ScaleSlot(S, -1, 1, "ada")).then_rejected(
        "invalid", replicas=-1, most=1, manifest=4, runtime=1
    )


def test_what_serves_nothing_is_not_scaled() -> None:
    given().when(ScaleSlot(S, 1, 1, "ada")).then_rejected("not_found")
    switched = {**BUSY, "phase": "switch"}
    given(*TWO_SWITCHED).when(ScaleSlot(S, 0, 10, "ada")).then_rejected("conflict", **switched)
    given(requested(A1, "one")).when(ScaleSlot(S, 1, 1, "ada")).then_rejected("not_found")


def test_another_model_begins_as_its_manifest_says() -> None:
    assert given(*ONE_SERVES, Scaled(S, 3, "ada")).state.replicas == 3
    assert given(*TWO_COMES, Scaled(S, 3, "ada"), *phases(A2, "switch")).state.replicas is None


def test_drift_is_told_once_until_it_changes() -> None:
    drifting = given(*ONE_SERVES).when(ReportDrift(S, A1, ("b", "a")))
    drifting.then(DriftDetected(S, "one", ("a", "b")))
    drifted = drifting.and_then()
    drifted.when(ReportDrift(S, A1, ("a", "b"))).then_nothing()
    drifted.when(ReportDrift(S, A1, ("a",))).then(DriftDetected(S, "one", ("a",)))


def test_drift_that_was_put_right_is_told_and_may_come_again() -> None:
    drifted = given(*ONE_SERVES, DriftDetected(S, "one", ("a",)))
    righted = DriftDetected(S, "one", ("a",), corrected=True)
    for report in (ReportDrift(S, A1, ("a",), corrected=True), ReportDrift(S, A1, ())):
        drifted.when(report).then(righted)
        again = drifted.when(report).and_then()
        again.when(ReportDrift(S, A1, ())).then_nothing()
        again.when(ReportDrift(S, A1, ("a",))).then(DriftDetected(S, "one", ("a",)))


def test_drift_of_what_does_not_serve_is_not_told() -> None:
    for history in ((), TWO_SERVES, (*ONE_LEAVES, DeactivationCompleted(S, D1, "one"))):
        given(*history).when(ReportDrift(S, A1, ("a",))).then_rejected("fenced")


def relied_on(*history: RuntimeEvent, gone: str = "") -> set[str]:
    state = given(*history).state
    return {model for model in ("one", "two") if relies_on(state, model, f"org/{model}", gone=gone)}


def test_weights_are_needed_for_as_long_as_their_model_may_serve() -> None:
    assert relied_on() == set()
    assert relied_on(requested(A1, "one")) == {"one"}
    assert relied_on(*TWO_COMES) == {"one", "two"}
    assert relied_on(*TWO_SWITCHED, ActivationPhase(S, A2, "drain", 50)) == {"one", "two"}
    assert relied_on(*TWO_SWITCHED, ActivationPhase(S, A2, "remove", 50)) == {"two"}
    assert relied_on(*TWO_SERVES) == {"two"}
    assert relied_on(*ONE_LEAVES) == {"one"}
    assert relied_on(*ONE_LEAVES, gone=A1) == set()
    assert relied_on(*ONE_SERVES, gone=A1) == {"one"}
    assert not relies_on(given(*ONE_SERVES).state, "one", "org/other")


def test_every_slot_has_a_history_of_its_own() -> None:
    assert decider.id(activate(A1, "one")) == S
