"""Whatever is asked of a slot, in whatever order: one activation at a time, and who failed does not
serve."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import get_args

from commands.runtime import decider
from commands.slot import LEAVING_KEPT
from schemas.manifest import Manifest, Replicas, WeightsSource
from schemas.message import Rejected
from schemas.runtime import (
    ActivateModel,
    ActivationCompleted,
    ActivationFailed,
    ActivationPhase,
    ActivationRequested,
    ActivationRolledBack,
    CompleteActivation,
    CompleteDeactivation,
    DeactivateSlot,
    DeactivationCompleted,
    EnterPhase,
    FailActivation,
    FailDeactivation,
    Phase,
    PromoteCandidate,
    ReportDrift,
    RollBack,
    RuntimeCommand,
    RuntimeEvent,
    ScaleSlot,
    SlotState,
    StartActivation,
    Strategy,
)

S = "main"
CODES = {"conflict", "fenced", "not_found", "not_ready", "nothing_to_roll_back", "invalid"}

Wish = Callable[[SlotState, str], RuntimeCommand]
"""What is asked, by what the slot is and an id that nothing else has."""


def activates(model: str, version: int, strategy: Strategy, hold: bool) -> Wish:
    manifest = Manifest(model, WeightsSource(model), replicas=Replicas(1, 3))
    return lambda _, id: ActivateModel(
        S, id, model, version, manifest, model, "s1", strategy, "ada", hold=hold
    )


def under_way(slot: SlotState) -> str:
    return slot.flight.served.id if slot.flight is not None else ""


def phase_of(slot: SlotState) -> Phase | None:
    return slot.flight.phase if slot.flight is not None else None


def leaving(slot: SlotState) -> str:
    return slot.deactivation.id if slot.deactivation is not None else ""


def serving(slot: SlotState) -> str:
    return slot.current.id if slot.current is not None else ""


def enters(phase: Phase) -> Wish:
    return lambda slot, _: EnterPhase(S, under_way(slot), phase, 1)


def scales(replicas: int) -> Wish:
    return lambda _, __: ScaleSlot(S, replicas, 2, "ada")


def rolls_back(strategy: Strategy) -> Wish:
    return lambda _, id: RollBack(S, id, "bob", strategy)


def promotes(model: str) -> Wish:
    return lambda _, __: PromoteCandidate(S, model, "bob")


STEPS: list[Wish] = [
    lambda slot, _: StartActivation(S, under_way(slot), "w1"),
    lambda slot, _: EnterPhase(S, under_way(slot), "switch", 1),
    lambda slot, _: CompleteActivation(S, under_way(slot), 1),
    lambda slot, _: CompleteActivation(S, under_way(slot), 1),
    lambda _, id: DeactivateSlot(S, id, "ada"),
    lambda slot, _: CompleteDeactivation(S, leaving(slot)),
    lambda slot, _: ReportDrift(S, serving(slot), ("a",)),
]
SELDOM: list[Wish] = [
    lambda slot, _: FailActivation(S, under_way(slot), "crashed", "gone", 1, phase_of(slot)),
    lambda slot, _: FailDeactivation(S, leaving(slot), "x", "y"),
]


def wish(chance: random.Random) -> Wish:
    """Anything that may be asked, the seldom seldom."""
    model, phase = chance.choice(["one", "two"]), chance.choice(get_args(Phase))
    strategy: Strategy = chance.choice(["direct", "blue-green"])
    asked = activates(model, chance.choice([1, 2]), strategy, chance.random() < 0.3)
    seldom = [*SELDOM, rolls_back(strategy), scales(chance.randrange(4))]
    return chance.choice(
        [asked, asked, enters(phase), promotes(model), chance.choice(seldom), *STEPS]
    )


@dataclass
class Told:
    """What has become of a slot, and of every activation that was ever asked for there."""

    states: list[SlotState] = field(default_factory=lambda: [decider.initial])
    asked: set[str] = field(default_factory=set[str])
    switches: Counter[str] = field(default_factory=Counter[str])
    ends: Counter[str] = field(default_factory=Counter[str])
    failed: set[str] = field(default_factory=set[str])

    @property
    def slot(self) -> SlotState:
        return self.states[-1]

    def tell(self, events: tuple[RuntimeEvent, ...]) -> None:
        before = self.slot
        for event in events:
            self._count(before, event)
        self.states.append(reduce(decider.evolve, events, before))
        self._check()

    def _count(self, before: SlotState, event: RuntimeEvent) -> None:
        match event:
            case ActivationRequested(served=served):
                assert before.flight is None
                assert before.deactivation is None
                assert served.id not in self.asked
                self.asked.add(served.id)
            case ActivationPhase(activation=id, phase="switch"):
                self.switches[id] += 1
            case ActivationCompleted(activation=id):
                assert self.switches[id] == 1
                self.ends[id] += 1
            case ActivationFailed(activation=id):
                self.ends[id] += 1
                self.failed.add(id)
            case ActivationRolledBack(model=model):
                assert before.current is not None or before.flight is not None
                assert model
            case DeactivationCompleted():
                assert before.flight is None
            case _:
                pass

    def _check(self) -> None:
        slot = self.slot
        assert slot.current is None or slot.current.id not in self.failed
        assert set(self.ends.values()) <= {1}
        assert set(self.switches.values()) <= {1}
        assert self.asked - self.ends.keys() == ({under_way(slot)} - {""})
        assert slot.deactivation is None or slot.current is not None
        assert slot.flight is None or slot.deactivation is None
        assert serving(slot) not in [gone.id for gone in slot.leaving]
        assert len(slot.leaving) <= LEAVING_KEPT
        assert slot.previous is None or slot.previous.id != serving(slot)
        if slot.flight is not None and slot.flight.hold and slot.switched:
            assert slot.flight.promoted


def granted(slot: SlotState, command: RuntimeCommand) -> tuple[RuntimeEvent, ...]:
    try:
        return tuple(decider.decide(slot, command))
    except Rejected as refusal:
        if refusal.code not in CODES:
            raise
        return ()


def story(chance: random.Random) -> Told:
    """Sixty wishes, some of which come from somebody who looked a while ago."""
    told = Told()
    for number in range(60):
        late = chance.choice([0, 0, 0, 0, 3])
        looked = told.states[max(0, len(told.states) - 1 - late)]
        command = wish(chance)(looked, f"01J0000000000000000000{number:04}")
        told.tell(granted(told.slot, command))
    return told


SEEDS = range(300)


def test_no_story_breaks_the_rules_of_a_slot() -> None:
    stories = [story(random.Random(seed)) for seed in SEEDS]
    ends = sum((told.ends for told in stories), Counter[str]())
    failed = sum(len(told.failed) for told in stories)
    assert failed > 100, "the stories are about nothing"
    assert ends.total() - failed > 100, "the stories are about nothing"


def test_what_is_asked_twice_in_a_row_happens_once() -> None:
    """Rolling back is the exception: the second gives up what the first has asked for."""
    for seed in SEEDS:
        chance = random.Random(seed)
        slot = story(chance).slot
        command = wish(chance)(slot, "01J0000000000000000000AAAA")
        after = reduce(decider.evolve, granted(slot, command), slot)
        assert isinstance(command, RollBack) or granted(after, command) == ()
