"""The row of a slot, and those of its activations, from the events of its history."""

from projections.activations import activations
from projections.runtime import fold
from schemas.api.runtime import ActivationRow, SlotRow
from schemas.runtime import (
    ActivationCompleted,
    ActivationFailed,
    ActivationPhase,
    ActivationRequested,
    ActivationRolledBack,
    ActivationStarted,
    DeactivationCompleted,
    DeactivationFailed,
    DeactivationStarted,
    DriftDetected,
    Phase,
    PhaseTime,
    Promoted,
    RuntimeEvent,
    Scaled,
)
from tests.projections.keeping import expected
from tests.projections.telling import Told, at, served, slot

PLACE = "active-llm"
ONE, TWO, THREE = "01ONE", "01TWO", "01THREE"


def requested(id: str, model: str, *, hold: bool = False) -> ActivationRequested:
    return ActivationRequested(PLACE, served(id, model), "blue-green", "me", hold=hold)


def phase(id: str, phase: Phase, ms: int) -> ActivationPhase:
    return ActivationPhase(PLACE, id, phase, ms)


def activated(id: str, model: str) -> tuple[RuntimeEvent, ...]:
    return (
        requested(id, model),
        ActivationStarted(PLACE, id, "worker"),
        phase(id, "start", 10),
        phase(id, "switch", 30),
        ActivationCompleted(
            PLACE, id, model, 40, (PhaseTime("start", 20), PhaseTime("switch", 10))
        ),
    )


def failed(id: str, model: str, code: str = "engine_died") -> ActivationFailed:
    return ActivationFailed(PLACE, id, model, code, "it ended")


def told(*events: RuntimeEvent) -> Told:
    found = Told()
    for event in events:
        found(slot(), event)
    return found


def row(*events: RuntimeEvent) -> SlotRow:
    found = fold.row_of(told(*events).commits)
    assert found is not None
    return found


def activation(id: str, *events: RuntimeEvent) -> ActivationRow:
    found = expected(activations, told(*events).commits).rows["default", id]
    assert found is not None
    return found


def test_a_slot_is_activating_from_the_request_on() -> None:
    coming = row(requested(ONE, "small"))
    assert (coming.state, coming.model) == ("activating", "")
    assert coming.candidate is not None
    assert (coming.candidate.model, coming.candidate.by) == ("small", "me")
    assert coming.candidate.requested_at == at(1)


def test_phases_are_seen_as_they_begin() -> None:
    coming = row(*activated(ONE, "small")[:3]).candidate
    assert coming is not None
    assert (coming.phase, coming.worker) == ("start", "worker")
    assert coming.phases == (PhaseTime("start", 10),)


def test_who_has_been_activated_serves_since_the_switch() -> None:
    there = row(*activated(ONE, "small"))
    assert (there.state, there.model, there.activation) == ("serving", "small", ONE)
    assert (there.since, there.replicas, there.target) == (at(4), 1, "org/model")
    assert there.candidate is None
    assert there.previous is None


def test_until_the_switch_the_current_one_is_who_serves() -> None:
    before = row(*activated(ONE, "small"), requested(TWO, "big"), phase(TWO, "load", 5))
    assert (before.state, before.model) == ("activating", "small")
    after = row(*activated(ONE, "small"), requested(TWO, "big"), phase(TWO, "switch", 5))
    assert (after.state, after.model) == ("activating", "big")
    assert after.previous is not None
    assert (after.previous.model, after.previous.activation) == ("small", ONE)


def test_a_candidate_that_is_held_waits_until_it_is_promoted() -> None:
    held = (requested(ONE, "small", hold=True), phase(ONE, "ready", 9))
    waiting = row(*held).candidate
    assert waiting is not None
    assert waiting.waiting
    promoted = row(*held, Promoted(PLACE, ONE, "small", "", "you")).candidate
    assert promoted is not None
    assert not promoted.waiting
    history = activation(ONE, *held, Promoted(PLACE, ONE, "small", "", "you"))
    assert history.promoted_by == "you"


def test_a_first_activation_that_fails_leaves_a_slot_that_failed() -> None:
    empty = row(requested(ONE, "small"), failed(ONE, "small"))
    assert (empty.state, empty.model, empty.candidate) == ("failed", "", None)
    assert empty.failure is not None
    assert (empty.failure.code, empty.failure.model) == ("engine_died", "small")


def test_a_failure_after_the_switch_brings_back_everything_of_who_served_before() -> None:
    scaled = (*activated(ONE, "small"), Scaled(PLACE, 3, "me"))
    drifted = (*scaled, DriftDetected(PLACE, "small", ("spec",)))
    before = row(*drifted)
    back = row(
        *drifted,
        requested(TWO, "big"),
        phase(TWO, "switch", 5),
        failed(TWO, "big"),
        ActivationRolledBack(PLACE, TWO, "small"),
    )
    assert (back.state, back.model, back.activation) == ("serving", "small", ONE)
    assert (back.since, back.replicas, back.previous) == (before.since, 3, before.previous)
    assert back.drift == before.drift
    assert back.failure is not None


def test_what_somebody_gave_up_is_no_failure() -> None:
    empty = row(requested(ONE, "small"), failed(ONE, "small", "rolled_back"))
    assert (empty.state, empty.failure) == ("idle", None)


def test_success_forgets_the_failure_before_it() -> None:
    assert row(requested(ONE, "a"), failed(ONE, "a"), *activated(TWO, "b")).failure is None


def test_the_same_model_activated_again_is_nothing_to_go_back_to() -> None:
    again = row(*activated(ONE, "small"), *activated(TWO, "small"))
    assert (again.activation, again.previous) == (TWO, None)


def test_who_left_can_be_gone_back_to() -> None:
    left = row(
        *activated(ONE, "small"),
        DeactivationStarted(PLACE, TWO, "small", "me"),
        DeactivationCompleted(PLACE, TWO, "small"),
    )
    assert (left.state, left.model, left.since, left.replicas) == ("idle", "", None, 0)
    assert left.previous is not None
    assert left.previous.model == "small"


def test_a_deactivation_that_fails_leaves_who_serves() -> None:
    leaving = (*activated(ONE, "small"), DeactivationStarted(PLACE, TWO, "small", "me"))
    assert row(*leaving).state == "deactivating"
    stays = row(*leaving, DeactivationFailed(PLACE, TWO, "stuck", "it does not end"))
    assert (stays.state, stays.model) == ("serving", "small")
    assert stays.failure is not None
    assert stays.failure.code == "stuck"


def test_drift_is_of_who_serves() -> None:
    drifted = (*activated(ONE, "small"), DriftDetected(PLACE, "small", ("spec",), True))
    seen = row(*drifted).drift
    assert seen is not None
    assert (seen.fields, seen.corrected, seen.at) == (("spec",), True, at(6))
    assert row(*drifted, *activated(TWO, "big")).drift is None


def test_words_about_an_activation_that_is_over_change_nothing() -> None:
    there = row(*activated(ONE, "small"))
    later = row(*activated(ONE, "small"), phase(TWO, "load", 3))
    assert (later.candidate, later.model) == (None, there.model)


def test_an_activation_is_told_from_its_request_to_its_end() -> None:
    done = activation(ONE, *activated(ONE, "small"))
    assert (done.kind, done.outcome, done.model) == ("activation", "completed", "small")
    assert (done.requested_at, done.started_at, done.ended_at) == (at(1), at(2), at(5))
    assert (done.worker, done.ms, done.phase) == ("worker", 40, "")
    assert done.phases == (PhaseTime("start", 20), PhaseTime("switch", 10))


def test_while_it_is_under_way_the_phases_before_have_their_times() -> None:
    coming = activation(ONE, *activated(ONE, "small")[:4])
    assert (coming.outcome, coming.phase, coming.ms) == ("running", "switch", 30)
    assert coming.phases == (PhaseTime("start", 20), PhaseTime("switch", 0))


def test_one_that_failed_says_why_and_who_serves_on() -> None:
    ended = activation(
        TWO,
        *activated(ONE, "small"),
        requested(TWO, "big"),
        failed(TWO, "big"),
        ActivationRolledBack(PLACE, TWO, "small"),
    )
    assert (ended.outcome, ended.code, ended.returned_to) == ("failed", "engine_died", "small")
    assert (ended.ended_at, ended.ms) == (at(7), 1000)


def test_one_that_was_given_up_says_by_whom() -> None:
    ended = activation(
        TWO,
        *activated(ONE, "small"),
        requested(TWO, "big"),
        failed(TWO, "big", "rolled_back"),
        ActivationRolledBack(PLACE, TWO, "small", "you"),
    )
    assert (ended.outcome, ended.rolled_back_by) == ("rolledback", "you")


def test_a_deactivation_is_told_too() -> None:
    left = (*activated(ONE, "small"), DeactivationStarted(PLACE, TWO, "small", "me"))
    assert activation(TWO, *left).outcome == "running"
    done = activation(TWO, *left, DeactivationCompleted(PLACE, TWO, "small"))
    assert (done.kind, done.outcome, done.model) == ("deactivation", "completed", "small")
    stuck = activation(TWO, *left, DeactivationFailed(PLACE, TWO, "stuck", "no"))
    assert (stuck.outcome, stuck.code) == ("failed", "stuck")
