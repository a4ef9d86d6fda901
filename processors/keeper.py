"""Keeping one slot as its log says, whatever happens to the processes or pods in it.

Level-triggered: whatever woke it, it looks at the slot as it is now, does the one thing that brings
the world nearer to it, says so on the log, and looks again. It keeps nothing that it could not find
again, so it may die anywhere and another goes on.
"""

import logging
import time

import msgspec

from processors.driver import Driver, DriverUnavailable, Present
from processors.flight import AT_ONCE, Flying, instance
from processors.voice import Voice
from schemas.log import LogUnavailable
from schemas.message import Rejected
from schemas.runtime import (
    CompleteDeactivation,
    Deactivation,
    FailDeactivation,
    ReportDrift,
    SeenSlot,
    Served,
    Slots,
)
from schemas.status import SlotStatus

STEADY, SOON, AWAY, EMPTY = 2.0, 0.3, 1.0, 30.0
"""Seconds between looks: at what serves, at what is going, at a world that does not answer, and at
a slot with nothing in it."""

LOG_SECONDS = 15.0
"""How long a slot where nothing is under way is taken to be as it was, unless it has moved."""

DRIFT_SECONDS = 60.0
"""At most one word in this time about what somebody else keeps changing."""

STRAYS_SECONDS = 60.0
DRAIN_SECONDS = 60.0
ARRIVAL_SECONDS = 1.0
"""In which requests arrive that were on their way when the slot's address became another."""

PATIENCE_SECONDS = 300.0

logger = logging.getLogger(__name__)


class Keeper:
    """One slot's. `correct`: put right what somebody else changed, rather than only say so."""

    def __init__(
        self, slots: Slots, driver: Driver, voice: Voice, worker: str, *, correct: bool = False
    ) -> None:
        self._slots = slots
        self._driver = driver
        self._voice = voice
        self._flying = Flying(driver, voice, worker, correct=correct)
        self._correct = correct
        self._cleared: set[str] = set()
        self._seen: SeenSlot | None = None
        self._seen_at = self._strays_at = float("-inf")
        self._drift: tuple[tuple[str, ...], float] = ((), 0.0)
        self._fresh = False
        self._leaving_since: dict[str, float] = {}

    async def look(self, namespace: str, slot: str, newest: int = 0) -> float:
        """Look at the slot, take one step, and say after how many seconds to look again.

        `newest` is the last position at which the slot is known to have moved. Raises
        `LogUnavailable` and nats errors.
        """
        seen = await self._see(namespace, slot, newest)
        try:
            return await self._act(seen)
        except DriverUnavailable as error:
            logger.warning("slot %s waits: %s", slot, error)
            return await self._give_up(seen, str(error))
        except Rejected as refusal:
            self._seen = None
            if refusal.code not in ("fenced", "busy"):
                raise
            return AT_ONCE  # it moved on while we looked

    async def _see(self, namespace: str, slot: str, newest: int) -> SeenSlot:
        """The slot as the log says: as it said lately, where nothing is under way, or for as long
        as the log is away, so that what serves is looked after all the same."""
        lately, now = self._seen, time.monotonic()
        if lately is not None and lately.position < newest:
            lately = None
        self._fresh = lately is None or now - self._seen_at >= LOG_SECONDS or self._strays_due
        if lately is not None and not self._fresh:
            return lately
        try:
            seen = await self._slots(namespace, slot)
        except LogUnavailable:
            self._fresh = False
            if lately is None:
                raise
            return lately
        if not seen.state.slot:  # it has no history, but something may stand there all the same
            state = msgspec.structs.replace(seen.state, slot=slot)
            seen = msgspec.structs.replace(seen, state=state)
        quiet = seen.state.flight is None and seen.state.deactivation is None
        self._seen, self._seen_at = (seen if quiet else None), now
        return seen

    async def _act(self, seen: SeenSlot) -> float:
        state = seen.state
        if state.flight is not None:
            return await self._flying.step(seen, state.flight)
        if state.deactivation is not None:
            return await self._take_down(seen, state.deactivation)
        if await self._in_the_way(seen):
            return SOON
        if state.current is not None:
            await self._keep(seen, state.current)
        else:
            await self._voice.show(seen, None, "")
        cleared = await self._clear(seen)
        if state.current is None and cleared:
            return await self._voice.record(seen, SlotStatus()) or EMPTY
        return STEADY if cleared else SOON

    async def _in_the_way(self, seen: SeenSlot) -> bool:
        """Whether who was stopped for a candidate has to wait for that one to be gone: they are
        not said to have room beside each other."""
        current, left = seen.state.current, seen.state.leaving
        if current is None or not seen.state.stopped or self._driver.replaces_in_place:
            return False
        if all(gone.place != current.place for gone in left):
            return False
        if _present(seen, current.id) in await self._driver.present():
            return False
        return not await self._clear(seen)

    async def _give_up(self, seen: SeenSlot, why: str) -> float:
        """A world that does not answer ends what has a deadline, once that has passed."""
        flight, leaving = seen.state.flight, seen.state.deactivation
        if flight is not None and self._flying.overdue(seen, flight):
            return await self._flying.fail(seen, flight, "unavailable", why)
        if leaving is not None and self._waited(leaving) > PATIENCE_SECONDS:
            await self._leave_it(seen, leaving, "unavailable", why)
        return AWAY

    async def _leave_it(self, seen: SeenSlot, leaving: Deactivation, code: str, why: str) -> None:
        command = FailDeactivation(seen.state.slot, leaving.id, code, why[:2000])
        await self._voice.say(seen, f"{leaving.id}/fail", command)

    async def _keep(self, seen: SeenSlot, current: Served) -> None:
        try:
            sight = await self._driver.ensure(instance(seen, current), correct=self._correct)
        except Rejected as refusal:
            failed = SlotStatus("failed", current.model, current.id, str(refusal))
            await self._voice.record(seen, failed)
            return
        if sight.url or sight.status.health == "absent":
            await self._voice.show(seen, current, sight.url)
        await self._tell_drift(seen, current, sight.drift)
        await self._voice.record(seen, sight.status)

    async def _tell_drift(self, seen: SeenSlot, current: Served, drift: tuple[str, ...]) -> None:
        """Whoever changes the same back as often as we do is not told of each time."""
        corrected, now = self._correct and bool(drift), time.monotonic()
        if not corrected and {*drift} == {*seen.state.drift}:
            return
        told, at = self._drift
        if drift and drift == told and now - at < DRIFT_SECONDS:
            return
        command = ReportDrift(seen.state.slot, current.id, drift, corrected)
        await self._voice.observe(seen, command)
        self._seen = None
        if drift:
            self._drift = (drift, now)

    async def _clear(self, seen: SeenSlot) -> bool:
        """Remove what nobody wants any more. True once nothing of it is left."""
        current = seen.state.current.id if seen.state.current else ""
        gone = [s for s in seen.state.leaving if s.id != current and s.id not in self._cleared]
        for served in gone:
            if not await self._drained(seen, served):
                return False
            if not await self._driver.remove(_present(seen, served.id)):
                return False
            await self._voice.match(seen, served)
            self._cleared.add(served.id)
        if not (self._fresh and self._strays_due):
            return True  # who is new shall not be taken for a stray
        return await self._clear_strays(seen, current)

    async def _drained(self, seen: SeenSlot, served: Served) -> bool:
        """Whether nobody is inside any more, of those who were let in until the slot went back."""
        away = await self._voice.leave(seen, served)
        if away > DRAIN_SECONDS:
            return True
        return away > ARRIVAL_SECONDS and await self._driver.idle(instance(seen, served))

    @property
    def _strays_due(self) -> bool:
        return time.monotonic() - self._strays_at >= STRAYS_SECONDS

    async def _clear_strays(self, seen: SeenSlot, current: str) -> bool:
        """What no event speaks of: left by a log that is not ours any more, or by hand."""
        there = await self._driver.present()
        mine = [p for p in there if p[:2] == (seen.namespace, seen.state.slot)]
        removed = [await self._driver.remove(p) for p in mine if p.activation != current]
        if not all(removed):
            return False
        self._strays_at = time.monotonic()
        return True

    async def _take_down(self, seen: SeenSlot, leaving: Deactivation) -> float:
        """Nobody new is let in, those who are inside may finish, then it goes."""
        current = seen.state.current
        await self._voice.show(seen, current, "")
        if current is not None:
            idle = await self._driver.idle(instance(seen, current))
            if not idle and self._waited(leaving) < DRAIN_SECONDS:
                return SOON
            if not await self._driver.remove(_present(seen, current.id)):
                if self._waited(leaving) > PATIENCE_SECONDS:
                    await self._leave_it(seen, leaving, "timed_out", f"{current.model} does not go")
                return SOON
            if too_soon := await self._voice.record(seen, SlotStatus()):
                return too_soon
            await self._voice.match(seen, current)
            self._cleared.add(current.id)
        command = CompleteDeactivation(seen.state.slot, leaving.id)
        await self._voice.say(seen, f"{leaving.id}/complete", command)
        return AT_ONCE

    def _waited(self, leaving: Deactivation) -> float:
        now = time.monotonic()
        return now - self._leaving_since.setdefault(leaving.id, now)


def _present(seen: SeenSlot, activation: str) -> Present:
    return Present(seen.namespace, seen.state.slot, activation)
