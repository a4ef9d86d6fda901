"""When what is seen of a slot is said."""

from types import SimpleNamespace

import pytest

from processors import voice
from processors.voice import STATUS_SECONDS, Voice
from schemas.log import Outcome
from schemas.message import Command, Context
from schemas.runtime import SeenSlot, SlotState
from schemas.status import SlotStatus
from tests.processors.stage import SLOT, Addresses


async def test_a_second_between_two_statuses_begins_when_the_first_was_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not when it was about to be: a log may take its time."""
    now = 100.0

    async def dispatch(command: Command, context: Context) -> Outcome:
        nonlocal now
        now += 5
        return Outcome((), None)

    monkeypatch.setattr(voice, "time", SimpleNamespace(monotonic=lambda: now))
    speaker = Voice(dispatch, Addresses(), Addresses())
    seen = SeenSlot("default", SlotState(SLOT), 1)

    assert await speaker.record(seen, SlotStatus("loading")) == 0
    assert await speaker.record(seen, SlotStatus("ready")) == STATUS_SECONDS
