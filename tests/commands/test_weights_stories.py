"""Whatever is asked of the owner of a target: one claim at a time, and nothing half recorded."""

from functools import reduce

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands.weights import Weights, decider
from schemas.job import DeleteSpec, FinishedFile, InstallSpec
from schemas.message import Rejected
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
    WeightsDeleted,
    WeightsEvent,
    WeightsInstalled,
    WeightsReleased,
    WeightsReserved,
)
from schemas.weights_users import slot_user

T = "org/model"
CODES = {"not_found", "conflict", "fenced", "unreferenced_model", "weights_corrupted"}
FILES = (FinishedFile("a", 1, "sha256", "aa"),)

JOBS = st.sampled_from(["01J00000000000000000000001", "01J00000000000000000000002"])
KEYS = st.sampled_from(["k1", "k2"])
TURNS = st.integers(0, 2)
PARTS = st.integers(1, 3)
MANIFESTS = st.sampled_from(["m1", "m2"])
USERS = st.sampled_from(["slot:a", "model/one", "model/two", "slot/a/one", "slot/b/two"])


def install(job: str, key: str, overwrite: bool, turn: int) -> ReserveWeights:
    spec = InstallSpec("org/model", "main", "c0ffee", key, 1, 1, overwrite=overwrite)
    return ReserveWeights(T, job, key, "s1", 1, spec, turn)


def delete(job: str, turn: int) -> ReserveWeights:
    return ReserveWeights(T, job, "delete", "s1", 1, DeleteSpec(), turn)


HERE = st.just(T)
ONE = st.just(1)
COMMANDS: st.SearchStrategy[WeightsCommand] = st.one_of(
    st.builds(install, JOBS, KEYS, st.booleans(), TURNS),
    st.builds(delete, JOBS, TURNS),
    st.builds(ReleaseWeights, HERE, JOBS, TURNS),
    st.builds(RecordFiles, HERE, JOBS, PARTS, st.just(3), st.just(FILES)),
    st.builds(RecordInstalled, HERE, JOBS, MANIFESTS, ONE, PARTS, st.just(3), st.just(FILES)),
    st.builds(RecordVerified, HERE, JOBS, ONE, ONE, MANIFESTS),
    st.builds(RecordCorrupted, HERE, JOBS, st.just(("a",))),
    st.builds(RecordDeleted, HERE, JOBS),
    st.builds(ReferenceWeights, HERE, USERS),
    st.builds(UnreferenceWeights, HERE, USERS),
)


def check_possible_next(before: Weights, events: tuple[WeightsEvent, ...]) -> None:
    for event in events:
        match event:
            case WeightsReserved(job=job, turn=turn):
                claim = before.claim
                assert claim is None or (claim.job == job and claim.turn < turn)
            case WeightsInstalled(job=job) | WeightsDeleted(job=job):
                assert before.claim is not None
                assert before.claim.job == job
                users = before.references
                assert not users or isinstance(event, WeightsInstalled)
                assert all(user.startswith("model/") for user in users)
            case WeightsReleased(job=job):
                assert before.claim is not None
                assert before.claim.job == job
            case _:
                pass


def granted(weights: Weights, command: WeightsCommand) -> tuple[WeightsEvent, ...]:
    try:
        return tuple(decider.decide(weights, command))
    except Rejected as refusal:
        if refusal.code not in CODES:
            raise
        return ()


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.lists(COMMANDS, min_size=20, max_size=60))
def test_no_story_breaks_the_rules_of_a_target(story: list[WeightsCommand]) -> None:
    weights = decider.initial
    for command in story:
        events = granted(weights, command)
        assert len(events) <= 5
        check_possible_next(weights, events)
        after = reduce(decider.evolve, events, weights)
        assert not after.references or after.installed is not None
        for slot, model in map(slot_user, after.references):
            assert not slot or f"model/{model}" in after.references
        if isinstance(command, ReleaseWeights) and events:
            assert weights.claim is not None
            assert weights.claim.turn <= command.turn
        if not isinstance(command, RecordVerified | RecordCorrupted):
            assert granted(after, command) == ()
        weights = after
