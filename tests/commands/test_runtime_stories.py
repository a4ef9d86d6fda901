"""Whatever is asked of a slot, in whatever order: one activation at a time, and who failed does not
serve."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from commands.runtime import LEAVING_KEPT, decider
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


MODELS = st.sampled_from(["one", "two"])
STRATEGIES = st.sampled_from(get_args(Strategy))
PHASES = st.sampled_from(get_args(Phase))
STEPS: list[Wish] = [
    lambda slot, _: StartActivation(S, under_way(slot), "w1"),
    lambda slot, _: CompleteActivation(S, under_way(slot), 1),
    lambda slot, _: FailActivation(S, under_way(slot), "crashed", "gone", 1),
    lambda _, id: DeactivateSlot(S, id, "ada"),
    lambda slot, _: CompleteDeactivation(S, leaving(slot)),
    lambda slot, _: FailDeactivation(S, leaving(slot), "x", "y"),
    lambda slot, _: ReportDrift(S, serving(slot), ("a",)),
]
WISHES: st.SearchStrategy[Wish] = st.one_of(
    st.builds(activates, MODELS, st.integers(1, 2), STRATEGIES, st.booleans()),
    st.builds(enters, PHASES),
    st.builds(enters, st.sampled_from(["ready", "switch"])),
    st.builds(promotes, MODELS),
    st.builds(rolls_back, STRATEGIES),
    st.builds(scales, st.integers(0, 3)),
    st.sampled_from(STEPS),
)
STORIES = st.lists(st.tuples(WISHES, st.sampled_from([0, 0, 0, 0, 0, 3])), min_size=20, max_size=60)
"""Each wish with how many steps ago the one who asks looked."""


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


def tell(story: list[tuple[Wish, int]]) -> Told:
    told = Told()
    for number, (wish, late) in enumerate(story):
        looked = told.states[max(0, len(told.states) - 1 - late)]
        told.tell(granted(told.slot, wish(looked, f"01J0000000000000000000{number:04}")))
    return told


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STORIES)
def test_no_story_breaks_the_rules_of_a_slot(story: list[tuple[Wish, int]]) -> None:
    tell(story)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(STORIES, WISHES)
def test_what_is_asked_twice_in_a_row_happens_once(
    story: list[tuple[Wish, int]], wish: Wish
) -> None:
    """Rolling back is the exception: the second gives up what the first has asked for."""
    slot = tell(story).slot
    command = wish(slot, "01J0000000000000000000AAAA")
    after = reduce(decider.evolve, granted(slot, command), slot)
    if not isinstance(command, RollBack):
        assert granted(after, command) == ()
