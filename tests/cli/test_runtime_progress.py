"""What an activation is seen to be, by what is told of it, and how that is shown."""

import io
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cli.display import Documents, Lines, Screen
from cli.runtime_drawing import ROLLOUT
from cli.runtime_progress import Rollout, about, advance, begin, decode, under_way
from schemas.api.runtime import ActivationRow, CandidateRow, Failure, SlotRow
from schemas.manifest import Manifest, WeightsSource
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
    PhaseTime,
    Promoted,
    RuntimeEvent,
    Scaled,
    Served,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
ID = "01JD1111111111111111111111"
SERVED = Served(ID, "llama", 7, Manifest("llama", WeightsSource("org/model")), "org/model", "s")
START = Rollout("active-llm", ID, "activation", "pending", "llama")


def slot_row(**fields: Any) -> SlotRow:
    usual: dict[str, Any] = {"state": "serving", "model": "mistral", "activation": "old"}
    return SlotRow("default", "active-llm", position=9, updated_at=NOW, **(usual | fields))


def candidate(**fields: Any) -> CandidateRow:
    return CandidateRow(
        ID, "llama", 7, "org/model", "s", "b", "blue-green", "token/a", NOW, **fields
    )


def phase(name: str, ms: int, id: str = ID) -> ActivationPhase:
    said = {"slot": "active-llm", "activation": id, "phase": name, "ms": ms}
    return msgspec.convert({"type": "model.activation.phase", **said}, ActivationPhase)


def after(*events: RuntimeEvent, start: Rollout = START) -> Rollout:
    for position, event in enumerate(events, 10):
        start = advance(start, event, position)
    return start


FAILED = ActivationFailed(
    slot="active-llm", activation=ID, model="llama", code="timeout", message="no answer in 600 s"
)
BACK = ActivationRolledBack(slot="active-llm", activation=ID, model="mistral")


def test_phases_are_told_with_how_long_those_before_took() -> None:
    seen = after(
        ActivationRequested(slot="active-llm", served=SERVED, strategy="direct", by="a"),
        ActivationStarted(slot="active-llm", activation=ID, worker="w"),
        phase("start", 100),
        phase("load", 1300),
        phase("load", 1400),
    )

    assert (seen.outcome, seen.phase, seen.began) == ("running", "load", 1300)
    assert seen.phases == (PhaseTime("start", 1200),)
    assert not seen.settled


def test_an_activation_completes_when_the_log_says_so() -> None:
    took = (PhaseTime("start", 5), PhaseTime("switch", 2))
    done = ActivationCompleted(
        slot="active-llm", activation=ID, model="llama", ms=2500, phases=took
    )
    seen = after(phase("start", 0), phase("switch", 5), done)

    assert (seen.outcome, seen.ms, seen.phases, seen.phase) == ("completed", 2500, took, "")
    assert seen.ended


def test_one_that_failed_says_why_and_who_serves_on() -> None:
    seen = after(phase("load", 10), FAILED, BACK)

    assert (seen.outcome, seen.code, seen.stays) == ("failed", "timeout", "mistral")


def test_one_that_somebody_ended_is_no_failure() -> None:
    seen = after(msgspec.structs.replace(FAILED, code="rolled_back"), BACK)

    assert (seen.outcome, seen.ended) == ("rolledback", True)


def test_a_candidate_that_answers_waits_to_be_promoted() -> None:
    waiting = after(phase("ready", 10))
    promoted = after(
        Promoted(slot="active-llm", activation=ID, candidate="llama", current="mistral", by="a"),
        start=waiting,
    )

    assert (waiting.waiting, waiting.settled, waiting.ended) == (True, True, False)
    assert (promoted.waiting, promoted.settled) == (False, False)


def test_what_happens_to_others_is_not_about_it() -> None:
    others = (
        phase("load", 10, "other"),
        msgspec.structs.replace(FAILED, activation="other"),
        Scaled(slot="active-llm", replicas=2, by="a"),
        DriftDetected(slot="active-llm", model="llama", fields=("spec",)),
    )

    assert msgspec.structs.replace(after(*others), position=0) == START
    assert [about(event) for event in others] == ["other", "other", "", ""]


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (DeactivationCompleted(slot="active-llm", deactivation=ID, model="llama"), "completed"),
        (DeactivationFailed(slot="active-llm", deactivation=ID, code="c", message="m"), "failed"),
    ],
)
def test_a_deactivation_ends_too(end: RuntimeEvent, outcome: str) -> None:
    began = DeactivationStarted(slot="active-llm", deactivation=ID, model="llama", by="a")

    assert after(began, end).outcome == outcome


def test_a_slot_says_how_far_its_candidate_is() -> None:
    begun = (PhaseTime("start", 100), PhaseTime("load", 600))
    slot = slot_row(candidate=candidate(worker="w", phase="load", phases=begun))
    seen = begin(slot, under_way(slot))

    assert (seen.outcome, seen.model, seen.phase) == ("running", "llama", "load")
    assert seen.phases == (PhaseTime("start", 500),)
    assert begin(slot_row(candidate=candidate()), ID).outcome == "pending"


def test_a_slot_says_how_what_is_over_ended() -> None:
    failure = Failure(ID, "llama", "timeout", "no answer", NOW)
    failed = begin(slot_row(failure=failure), ID)

    assert (failed.outcome, failed.model, failed.stays) == ("failed", "llama", "mistral")
    assert begin(slot_row(), "old").outcome == "completed"
    assert begin(slot_row(deactivation=ID), ID).kind == "deactivation"
    assert under_way(slot_row(deactivation=ID)) == ID
    assert under_way(slot_row()) == ""


def test_a_row_tells_what_its_events_would_have() -> None:
    row = ActivationRow(
        namespace="default",
        id=ID,
        slot="active-llm",
        kind="activation",
        outcome="running",
        model="llama",
        by="token/a",
        requested_at=NOW,
        updated_at=NOW,
        position=12,
        correlation="c",
        phase="load",
        phases=(PhaseTime("start", 100), PhaseTime("load", 0)),
    )
    seen = advance(START, row)

    assert (seen.phase, seen.began, seen.position) == ("load", 100, 12)
    assert seen.phases == (PhaseTime("start", 100),)
    ended = msgspec.structs.replace(row, outcome="completed", phase="", ended_at=NOW, ms=500)
    assert advance(START, ended).ms == 500


def test_what_hinders_hearing_of_it_is_forgotten_once_something_is_heard() -> None:
    hindered = START.hindered("the connection broke off")

    assert hindered.note == "the connection broke off"
    assert advance(hindered, phase("start", 0), 10).note == ""


def test_events_of_a_newer_server_are_passed_over() -> None:
    assert decode(b'{"type": "model.activation.blessed"}') is None
    assert decode(msgspec.json.encode(BACK)) == BACK


def test_without_a_terminal_every_phase_is_a_line() -> None:
    stream = io.StringIO()
    lines = Lines(stream, ROLLOUT)
    for seen in (
        START,
        START,
        after(phase("start", 0)),
        after(phase("start", 0), phase("load", 1200)),
        after(phase("ready", 0)),
        after(phase("start", 0), FAILED),
    ):
        lines.show(seen)
    lines.show(after(phase("start", 0), FAILED))

    assert stream.getvalue().splitlines() == [
        "activate llama in active-llm: pending",
        "activate llama in active-llm: start",
        "activate llama in active-llm: load, after start took 1.2s",
        "activate llama in active-llm: ready, waits to be promoted",
        "activate llama in active-llm: failed, no answer in 600 s",
    ]


def test_programs_are_told_every_change_as_json() -> None:
    stream = io.StringIO()
    documents = Documents(stream, ROLLOUT)
    for seen in (START, START, after(phase("load", 3))):
        documents.show(seen)

    told = [msgspec.json.decode(line, type=Rollout) for line in stream.getvalue().splitlines()]
    assert told == [START, after(phase("load", 3))]


def test_a_terminal_shows_each_phase_with_its_time() -> None:
    stream = io.StringIO()
    screen = Screen(stream, ROLLOUT, colour=False)
    screen.show(after(phase("start", 0), phase("load", 1200)).hindered("the connection broke off"))
    screen.close()

    last = stream.getvalue().rpartition("\r")[2].replace("\x1b[2K", "").splitlines()
    assert last[0].endswith("activate llama in active-llm  load")
    assert last[1].split() == ["start", "1.2s"]
    assert last[2].split()[0] == "load"
    assert last[3].strip() == "the connection broke off"
