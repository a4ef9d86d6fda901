"""Events of old versions are read as those of today; those of newer builds are not guessed at."""

from typing import Any, TypeAlias

import msgspec
import pytest

from schemas.log import decode_events
from schemas.message import Event
from schemas.upcasting import UnknownEvent, event_decoder


class ThirdForm(Event, kw_only=True):
    v: int = 3


class CarPainted(ThirdForm, tag="car.painted"):
    """Once it held a `colour` by name; then `rgb`; now whether it shines as well."""

    rgb: tuple[int, int, int]
    shiny: bool


class CarSold(Event, tag="car.sold"):
    """It never changed, but for a field that came later."""

    price: int
    currency: str = "EUR"


CarEvent: TypeAlias = CarPainted | CarSold

RED = (255, 0, 0)


def named_to_rgb(event: dict[str, Any]) -> dict[str, Any]:
    return {"type": event["type"], "rgb": {"red": RED}[event["colour"]]}


def dull(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"shiny": False}


decode = event_decoder(CarEvent, {("car.painted", 1): named_to_rgb, ("car.painted", 2): dull})


def test_every_version_is_read_as_that_of_today() -> None:
    stored = b"""[
        {"type":"car.painted","colour":"red","v":1},
        {"type":"car.sold","price":5,"v":1},
        {"type":"car.painted","rgb":[255,0,0],"v":2},
        {"type":"car.painted","rgb":[255,0,0],"shiny":true,"v":3}
    ]"""
    types = ("car.painted", "car.sold", "car.painted", "car.painted")

    first, sold, second, third = decode(stored, types)

    assert first == second == CarPainted(rgb=RED, shiny=False)
    assert third == CarPainted(rgb=RED, shiny=True)
    assert sold == CarSold(price=5)


def test_an_event_without_a_version_is_of_the_first() -> None:
    [painted] = decode(b'[{"type":"car.painted","colour":"red"}]', ("car.painted",))
    assert painted == CarPainted(rgb=RED, shiny=False)


def test_a_field_that_came_later_is_what_it_is_unless_said() -> None:
    [sold] = decode(b'[{"type":"car.sold","price":5}]', ("car.sold",))
    assert sold == CarSold(price=5, currency="EUR")


def test_a_field_that_this_build_does_not_know_does_no_harm() -> None:
    [sold] = decode(b'[{"type":"car.sold","price":5,"buyer":"x"}]', ("car.sold",))
    assert sold == CarSold(price=5)


def test_what_is_stored_now_is_read_back() -> None:
    events = (CarPainted(rgb=RED, shiny=True), CarSold(price=5))
    assert decode(msgspec.json.encode(events), ("car.painted", "car.sold")) == events


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (b'[{"type":"car.scrapped","v":1}]', "car.scrapped"),
        (b'[{"type":"car.sold","price":5,"v":2}]', "car.sold"),
        (b'[{"type":"car.painted","rgb":[0,0,0],"shiny":true,"v":4}]', "car.painted"),
    ],
)
def test_what_a_newer_build_wrote_is_not_guessed_at(stored: bytes, kind: str) -> None:
    with pytest.raises(UnknownEvent, match="newer version"):
        decode(stored, (kind,))


def test_types_that_do_not_fit_their_events_are_an_error() -> None:
    with pytest.raises(ValueError, match="argument"):
        decode(b'[{"type":"car.sold","price":5}]', ("car.sold", "car.sold"))


@pytest.mark.parametrize("stored", [b"", b"{}", b"[", b'[{"type":"job.started"}]'])
def test_what_is_no_event_is_an_error(stored: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_events(stored, ("job.started",))
