"""Names that others rely on: of our packages, which are generic words, and of stored events."""

import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import msgspec
import pytest

from commands.dispatch import DECIDERS
from schemas.log import AnyEvent
from schemas.upcasting import event_types
from tests.schemas import golden

ROOMS = ["schemas", "commands", "projections", "processors", "gateway", "cli"]
EVENTS = [
    "job.requested",
    "job.started",
    "job.progress",
    "job.pause.requested",
    "job.paused",
    "job.resumed",
    "job.priority.changed",
    "job.cancel.requested",
    "job.cancelled",
    "job.attempt.failed",
    "job.commit.started",
    "job.completed",
    "job.failed",
    "weights.reserved",
    "weights.released",
    "weights.files",
    "weights.installed",
    "weights.verified",
    "weights.corrupted",
    "weights.referenced",
    "weights.unreferenced",
    "weights.deleted",
    "token.issued",
    "token.rotated",
    "token.revoked",
    "model.registered",
    "model.updated",
    "model.deleted",
    "model.alias.set",
    "model.activation.requested",
    "model.activation.started",
    "model.activation.phase",
    "model.activation.completed",
    "model.activation.failed",
    "model.activation.rolledback",
    "model.deactivation.started",
    "model.deactivation.completed",
    "model.deactivation.failed",
    "model.status.updated",
    "runtime.promoted",
    "runtime.scaled",
    "runtime.drift.detected",
]
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ROOMS)
def test_the_name_of_a_room_is_ours_alone(name: str) -> None:
    assert name not in sys.stdlib_module_names
    assert set(packages_distributions().get(name, [])) <= {"mllm"}
    assert (ROOT / name / "__init__.py").is_file()


def test_there_are_no_other_rooms() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == {*ROOMS, "tests"}


def test_no_event_has_lost_its_name() -> None:
    assert set(EVENTS) <= event_types(AnyEvent).keys()
    assert set(EVENTS) <= {golden.line(stored).type for stored in golden.events()}


def test_no_event_that_was_ever_stored_has_lost_its_name_or_that_of_a_field() -> None:
    known = event_types(AnyEvent)
    for stored in golden.events():
        event = golden.said(stored)
        fields = {field.encode_name for field in msgspec.structs.fields(known[event.pop("type")])}
        assert event.keys() <= fields


def test_events_are_named_after_their_family() -> None:
    """What is said of a slot and of a name of a model is told as being about the model."""
    families = {kind.partition(".")[0] for kind in event_types(AnyEvent)}
    aggregates = {decider.aggregate for decider in DECIDERS.values()}
    assert aggregates == families | {"alias", "status"}
