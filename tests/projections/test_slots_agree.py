"""A slot's row says what the slot's own decisions go by, whatever was decided."""

from random import Random

import pytest

from commands.runtime import decider
from projections.runtime import evolve
from schemas.api.runtime import SlotRow
from schemas.message import Rejected
from schemas.runtime import (
    ActivateModel,
    CompleteActivation,
    CompleteDeactivation,
    DeactivateSlot,
    EnterPhase,
    FailActivation,
    FailDeactivation,
    Phase,
    PromoteCandidate,
    ReportDrift,
    RollBack,
    RuntimeCommand,
    ScaleSlot,
    SlotState,
    StartActivation,
    Strategy,
)
from tests.projections.telling import Told, manifest, slot

PLACE = "active-llm"
PHASES: tuple[Phase, ...] = ("prepare", "stop", "start", "load", "ready", "switch", "drain")


def wishes(random: Random, state: SlotState, number: int) -> list[RuntimeCommand]:
    """What may be asked now, sense or not."""
    id = state.flight.served.id if state.flight else f"{number:026}"
    model = random.choice(["small", "big"])
    strategy: Strategy = random.choice(["direct", "blue-green"])
    phase = state.flight.phase if state.flight else None
    leaving = state.deactivation.id if state.deactivation else ""
    serving = state.current.id if state.current else ""
    return [
        ActivateModel(
            slot=PLACE,
            activation=f"{number:026}",
            model=model,
            version=1 + number % 2,
            manifest=manifest(model, 4),
            target="org/model",
            store="default",
            strategy=strategy,
            by="me",
            hold=random.random() < 0.3,
        ),
        StartActivation(PLACE, id, "worker"),
        EnterPhase(PLACE, id, random.choice(PHASES), number),
        EnterPhase(PLACE, id, "switch", number),
        CompleteActivation(PLACE, id, number),
        FailActivation(PLACE, id, "engine_died", "it ended", number, phase),
        PromoteCandidate(PLACE, model, "you"),
        RollBack(PLACE, f"{number:026}", "you", strategy),
        DeactivateSlot(PLACE, f"{number:026}", "me"),
        CompleteDeactivation(PLACE, leaving),
        FailDeactivation(PLACE, leaving, "stuck", "no"),
        ScaleSlot(PLACE, number % 4, 4, "me"),
        ReportDrift(PLACE, serving, ("spec",), random.random() < 0.5),
    ]


def check(row: SlotRow, state: SlotState) -> None:
    current, previous, flight = state.current, state.previous, state.flight
    assert (row.activation, row.model) == ((current.id, current.model) if current else ("", ""))
    assert (row.previous and row.previous.activation) == (previous.id if previous else None)
    assert (row.candidate and row.candidate.activation) == (flight.served.id if flight else None)
    assert row.deactivation == (state.deactivation.id if state.deactivation else "")
    if current is not None:
        assert row.replicas == (state.replicas if state.replicas is not None else 1)
        assert (row.place, row.version) == (current.place, current.version)
    drift = row.drift.fields if row.drift and not row.drift.corrected else ()
    assert drift == state.drift
    if flight is not None and row.candidate is not None:
        assert (row.candidate.phase or None) == flight.phase
        assert row.candidate.phases == flight.phases


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_decided_the_row_agrees(seed: int) -> None:
    random, told = Random(seed), Told()
    state, row = SlotState(), None
    for number in range(400):
        command = random.choice(wishes(random, state, number))
        try:
            events = decider.decide(state, command)
        except Rejected:
            continue
        if not events:
            continue
        commit = told(slot(), *events)
        for event in events:
            state, row = decider.evolve(state, event), evolve(row, event, commit)
        assert row is not None
        check(row, state)
    assert len(told.commits) > 50
