"""Whatever was ever stored can be read, for ever, and means what it meant."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, cast

import msgspec
import pytest

from schemas.facts import Facts
from schemas.job import FinishedFile, InstallSpec
from schemas.log import AnyEvent, decode_events
from schemas.manifest import Manifest
from schemas.message import Event, Value
from schemas.status import SlotStatus
from schemas.upcasting import event_types
from tests.schemas import golden

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

TYPES = event_types(AnyEvent)
STORED = [pytest.param(stored, id=golden.line(stored).type) for stored in golden.events()]


def decoded(stored: bytes) -> Event:
    [event] = decode_events(b"[" + stored + b"]", (golden.line(stored).type,))
    return event


def is_current(stored: bytes) -> bool:
    """Whether this is the form in which such an event is stored today."""
    line = golden.line(stored)
    fields = {field.name: field for field in msgspec.structs.fields(TYPES[line.type])}
    return bool(line.v == fields["v"].default)


def keeps(now: Json, then: Json) -> bool:
    """Whether everything that was said then is said now; there may be more by now."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(
            name in now and keeps(now[name], said) for name, said in then.items()
        )
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(keeps, now, then))
    return now == then


def check_said(struct: type[Event | Value], stored: list[dict[str, Any]]) -> None:
    """Every field of `struct` is in one of these, and not only as what it is unless said."""
    for field in msgspec.structs.fields(struct):
        said = [event[field.encode_name] for event in stored if field.encode_name in event]
        assert said, f"{struct.__name__}.{field.name} is in no golden line"
        if not field.required and field.name != "v":
            assert any(value != plain(unsaid(field)) for value in said), field.name


def unsaid(field: msgspec.structs.FieldInfo) -> object:
    """What a field is unless it is said."""
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def plain(value: object) -> Any:
    """As it is in JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))


def values(of: object) -> Iterator[Value]:
    """The values that an event is made of, and those that they are made of."""
    if isinstance(of, Value):
        yield of
    if isinstance(of, Value | Event):
        of = [getattr(of, name) for name in of.__struct_fields__]
    if isinstance(of, tuple | list):
        for part in cast("Sequence[object]", of):
            yield from values(part)


@pytest.mark.parametrize("stored", STORED)
def test_what_was_stored_is_read_as_what_it_was(stored: bytes) -> None:
    event = decoded(stored)

    assert type(event) is TYPES[golden.line(stored).type]
    if is_current(stored):
        assert keeps(golden.said(msgspec.json.encode(event)), golden.said(stored))


@pytest.mark.parametrize("kind", TYPES)
def test_every_event_has_been_stored_with_every_field_said(kind: str) -> None:
    lines = [line for line in golden.events() if golden.line(line).type == kind]
    check_said(TYPES[kind], [golden.said(line) for line in lines if is_current(line)])


def test_what_events_are_made_of_has_been_stored_with_every_field_said() -> None:
    stored: dict[type[Value], list[dict[str, Any]]] = {}
    for event in map(decoded, golden.events()):
        for value in values(event):
            stored.setdefault(type(value), []).append(plain(value))
    assert {InstallSpec, FinishedFile, Facts, Manifest, SlotStatus} <= stored.keys()
    for struct, said in stored.items():
        check_said(struct, said)


def test_no_two_events_share_a_type() -> None:
    assert len(TYPES) == len(AnyEvent.__args__)


class JobStarted(Event, tag="job.started"):
    """As it would be, had its `worker` been renamed and a field been added that must be said."""

    job: str
    attempt: int
    machine: str


def test_a_renamed_field_would_be_noticed() -> None:
    [started] = [line for line in golden.events() if golden.line(line).type == "job.started"]
    with pytest.raises(msgspec.ValidationError, match="machine"):
        msgspec.json.decode(started, type=JobStarted)
    lenient = msgspec.defstruct("Lenient", [("job", str), ("attempt", int), ("machine", str, "")])
    now = golden.said(msgspec.json.encode(msgspec.json.decode(started, type=lenient)))
    assert not keeps(now, golden.said(started))


def test_stored_types_and_fields_are_still_there() -> None:
    for stored in filter(is_current, golden.events()):
        known = {
            field.encode_name for field in msgspec.structs.fields(TYPES[golden.line(stored).type])
        }
        assert golden.said(stored).keys() - {"type"} <= known
