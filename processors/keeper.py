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

STRAYS_SECONDS = 60.0
DRAIN_SECONDS = 60.0
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
        self._flying = Flying(driver, voice, worker)
        self._correct = correct
        self._cleared: set[str] = set()
        self._strays_at = 0.0
        self._leaving_since: dict[str, float] = {}

    async def look(self, namespace: str, slot: str) -> float:
        """Look at the slot, take one step, and say after how many seconds to look again.

        Raises `LogUnavailable` and nats errors.
        """
        seen = await self._slots(namespace, slot)
        if not seen.state.slot:  # it has no history, but something may stand there all the same
            state = msgspec.structs.replace(seen.state, slot=slot)
            seen = msgspec.structs.replace(seen, state=state)
        try:
            return await self._act(seen)
        except DriverUnavailable as error:
            logger.warning("slot %s waits: %s", slot, error)
            return await self._give_up(seen, str(error))
        except Rejected as refusal:
            if refusal.code not in ("fenced", "busy"):
                raise
            return AT_ONCE  # it moved on while we looked

    async def _act(self, seen: SeenSlot) -> float:
        state = seen.state
        if state.flight is not None:
            return await self._flying.step(seen, state.flight)
        if state.deactivation is not None:
            return await self._take_down(seen, state.deactivation)
        if state.current is not None:
            await self._keep(seen, state.current)
        else:
            await self._voice.show(seen, None, "")
        cleared = await self._clear(seen)
        if state.current is None and cleared:
            await self._voice.record(seen, SlotStatus())
            return EMPTY if self._voice.recorded(SlotStatus()) else SOON
        return STEADY if cleared else SOON

    async def _give_up(self, seen: SeenSlot, why: str) -> float:
        """A world that does not answer ends what has a deadline, once that has passed."""
        flight, leaving = seen.state.flight, seen.state.deactivation
        if flight is not None and self._flying.overdue(seen, flight):
            return await self._flying.fail(seen, flight, "unavailable", why)
        if leaving is not None and self._waited(leaving) > PATIENCE_SECONDS:
            command = FailDeactivation(seen.state.slot, leaving.id, "unavailable", why[:2000])
            await self._voice.say(seen, f"{leaving.id}/fail", command)
        return AWAY

    async def _keep(self, seen: SeenSlot, current: Served) -> None:
        try:
            sight = await self._driver.ensure(instance(seen, current), correct=self._correct)
        except Rejected as refusal:
            failed = SlotStatus("failed", current.model, current.id, str(refusal))
            return await self._voice.record(seen, failed)
        if sight.url or sight.status.health == "absent":
            await self._voice.show(seen, current, sight.url)
        corrected = self._correct and bool(sight.drift)
        if corrected or {*sight.drift} != {*seen.state.drift}:
            drift = ReportDrift(seen.state.slot, current.id, sight.drift, corrected)
            await self._voice.observe(seen, drift)
        await self._voice.record(seen, sight.status)

    async def _clear(self, seen: SeenSlot) -> bool:
        """Remove what nobody wants any more. True once nothing of it is left."""
        current = seen.state.current.id if seen.state.current else ""
        gone = [s for s in seen.state.leaving if s.id != current and s.id not in self._cleared]
        for served in gone:
            if not await self._driver.remove(_present(seen, served.id)):
                return False
            await self._voice.release(seen, served)
            self._cleared.add(served.id)
        if time.monotonic() - self._strays_at < STRAYS_SECONDS:
            return True
        return await self._clear_strays(seen, current)

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
                return SOON
            await self._voice.release(seen, current)
            self._cleared.add(current.id)
        command = CompleteDeactivation(seen.state.slot, leaving.id)
        await self._voice.say(seen, f"{leaving.id}/complete", command)
        return AT_ONCE

    def _waited(self, leaving: Deactivation) -> float:
        now = time.monotonic()
        return now - self._leaving_since.setdefault(leaving.id, now)


def _present(seen: SeenSlot, activation: str) -> Present:
    return Present(seen.namespace, seen.state.slot, activation)
