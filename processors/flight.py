"""An activation under way, one phase at a time, up to its end.

Each step is decided by what the log says the phase is, and by what is seen of the instances now.
The candidate comes up beside the current one, or in its stead; `switch` lets it serve; what served
before is drained and removed. Whatever goes wrong before the end lets the current one stay, or come
back.
"""

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import assert_never

import msgspec

from processors.driver import Driver, Instance, Present, Sight
from processors.voice import Voice
from schemas.message import Rejected
from schemas.runtime import (
    CompleteActivation,
    EnterPhase,
    FailActivation,
    Flight,
    Phase,
    SeenSlot,
    Served,
    SlotState,
    StartActivation,
)
from schemas.status import SlotStatus

AT_ONCE, SOON = 0.01, 0.3
NOT_ITS_FAULT = frozenset({"fenced", "busy", "newer_log"})
"""Refusals that say nothing of the candidate: it moved on, or a newer build looks after it."""

DRAIN_AT_LEAST, DRAIN_AT_MOST = 1000, 60_000
"""Milliseconds. Requests that were on their way when the switch was made arrive within the first;
those that go on for longer than the second are cut."""


class Flying:
    """Takes an activation on by one step at a time. `correct`: as the keeper does."""

    def __init__(self, driver: Driver, voice: Voice, worker: str, *, correct: bool = False) -> None:
        self._driver = driver
        self._voice = voice
        self._worker = worker
        self._correct = correct
        self._began = self._silent = ("", 0.0)

    async def step(self, seen: SeenSlot, flight: Flight) -> float:
        """Do what comes next; say after how many seconds to look again.

        Raises `DriverUnavailable`, `Rejected` with `fenced` when the activation is over,
        `LogUnavailable` and nats errors.
        """
        if self.overdue(seen, flight):
            return await self._give_up(seen, flight)
        try:
            return await self._step(seen, flight)
        except Rejected as refusal:
            if refusal.code in NOT_ITS_FAULT:
                raise
            return await self.fail(seen, flight, refusal.code, str(refusal))

    def overdue(self, seen: SeenSlot, flight: Flight) -> bool:
        """Whether it took too long to answer. One that waits to be promoted does answer."""
        waits = seen.state.switched or flight.phase == "ready"
        return not waits and self._elapsed(seen, flight) > flight.timeout * 1000

    async def fail(self, seen: SeenSlot, flight: Flight, code: str, message: str) -> float:
        """End it: the current one stays, or comes back."""
        id, ms = flight.served.id, self._elapsed(seen, flight)
        command = FailActivation(seen.state.slot, id, code, message[:2000], ms, flight.phase)
        await self._voice.say(seen, f"{id}/fail", command)
        before = flight.before.current if flight.before is not None else None
        if before is not None and flight.phase == "remove":
            await self._voice.match(seen, before)  # its weights may have been let go of by now
        return AT_ONCE

    async def _give_up(self, seen: SeenSlot, flight: Flight) -> float:
        """With the last that was seen of it, which may be why."""
        why = ""
        with suppress(Rejected):
            why = (await self._driver.ensure(instance(seen, flight.served))).status.message
        text = f"it did not answer within {flight.timeout:g} seconds"
        return await self.fail(seen, flight, "timed_out", f"{text}: {why}" if why else text)

    async def _step(self, seen: SeenSlot, flight: Flight) -> float:
        match flight.phase:
            case None:
                start = StartActivation(seen.state.slot, flight.served.id, self._worker)
                await self._voice.say(seen, f"{flight.served.id}/begin", start)
                return await self._enter(seen, flight, "prepare")
            case "prepare":
                room = self._makes_room(seen.state, flight)
                return await self._enter(seen, flight, "stop" if room else "start")
            case "stop":
                return await self._stop(seen, flight)
            case "start" | "load":
                return await self._bring_up(seen, flight)
            case "ready":
                return await self._wait_for_promotion(seen, flight)
            case "switch":
                return await self._switch(seen, flight)
            case "drain":
                return await self._drain(seen, flight)
            case "remove":
                return await self._remove(seen, flight)
            case _:
                assert_never(flight.phase)

    def _makes_room(self, state: SlotState, flight: Flight) -> bool:
        """Whether the current one is taken down before the candidate comes up."""
        if state.current is None:
            return False
        return flight.preempt or (
            flight.strategy == "direct" and not self._driver.replaces_in_place
        )

    async def _stop(self, seen: SeenSlot, flight: Flight) -> float:
        current = seen.state.current
        assert current is not None
        await self._voice.show(seen, current, "")
        if not await self._driver.remove(Present(seen.namespace, seen.state.slot, current.id)):
            return SOON
        return await self._enter(seen, flight, "start")

    async def _bring_up(self, seen: SeenSlot, flight: Flight) -> float:
        sight = await self._look(seen, flight)
        if sight.code:
            return await self.fail(seen, flight, sight.code, sight.status.message)
        if flight.phase == "start":
            begun = sight.status.health not in ("absent", "starting")
            return await self._enter(seen, flight, "load") if begun else SOON
        if not sight.url:
            return SOON
        waits = flight.hold and not flight.promoted
        return await self._enter(seen, flight, "ready" if waits else "switch")

    async def _wait_for_promotion(self, seen: SeenSlot, flight: Flight) -> float:
        sight = await self._look(seen, flight)
        if sight.code:
            return await self.fail(seen, flight, sight.code, sight.status.message)
        if not flight.promoted:
            return SOON
        if not sight.url:
            return await self._wait_for_answer(seen, flight, sight)
        return await self._enter(seen, flight, "switch")

    async def _switch(self, seen: SeenSlot, flight: Flight) -> float:
        sight = await self._serve(seen, flight)
        if not sight.url:
            return await self._wait_for_answer(seen, flight, sight)
        if not seen.state.leaving:
            return await self._complete(seen, flight, sight)
        stopped = any(entry.phase == "stop" for entry in flight.phases)
        return await self._enter(seen, flight, "remove" if stopped else "drain")

    async def _drain(self, seen: SeenSlot, flight: Flight) -> float:
        sight = await self._serve(seen, flight)
        if not sight.url:
            return await self._wait_for_answer(seen, flight, sight)
        waited = self._elapsed(seen, flight) - flight.phases[-1].ms
        if waited < DRAIN_AT_LEAST:
            return SOON
        idle = [await self._driver.idle(instance(seen, gone)) for gone in seen.state.leaving]
        if all(idle) or waited > DRAIN_AT_MOST:
            return await self._enter(seen, flight, "remove")
        return SOON

    async def _remove(self, seen: SeenSlot, flight: Flight) -> float:
        for gone in seen.state.leaving:
            if not await self._driver.remove(Present(seen.namespace, seen.state.slot, gone.id)):
                return SOON
        sight = await self._serve(seen, flight)
        if not sight.url:
            return await self._wait_for_answer(seen, flight, sight)
        return await self._complete(seen, flight, sight)

    async def _serve(self, seen: SeenSlot, flight: Flight) -> Sight:
        """Keep the candidate up that requests go to since the switch."""
        sight = await self._driver.ensure(instance(seen, flight.served))
        await self._voice.show(seen, flight.served, sight.url)
        await self._voice.record(seen, sight.status)
        if sight.url:
            self._silent = ("", 0.0)
        return sight

    async def _wait_for_answer(self, seen: SeenSlot, flight: Flight, sight: Sight) -> float:
        """It answered once and does not now: that may pass, or else it has failed."""
        if sight.code:
            return await self.fail(seen, flight, sight.code, sight.status.message)
        id, now = flight.served.id, time.monotonic()
        if self._silent[0] != id:
            self._silent = (id, now)
        if now - self._silent[1] <= flight.timeout:
            return SOON
        text = f"it answered, and then did not for {flight.timeout:g} seconds"
        why = sight.status.message
        return await self.fail(seen, flight, "timed_out", f"{text}: {why}" if why else text)

    async def _look(self, seen: SeenSlot, flight: Flight) -> Sight:
        """How the candidate is; the current one, where it stands beside, is kept up meanwhile."""
        sight = await self._driver.ensure(instance(seen, flight.served))
        status, current = sight.status, seen.state.current
        stopped = any(entry.phase == "stop" for entry in flight.phases)
        if current is not None and current.place != flight.served.place and not stopped:
            beside = await self._keep_up(seen, current)
            status = together(beside, status) if beside else status
        await self._voice.record(seen, status)
        return sight

    async def _keep_up(self, seen: SeenSlot, current: Served) -> SlotStatus | None:
        """How the current one is. That it can not be kept up is no reason not to replace it."""
        with suppress(Rejected):
            sight = await self._driver.ensure(instance(seen, current), correct=self._correct)
            if sight.url:
                await self._voice.show(seen, current, sight.url)
            return sight.status
        return None

    async def _enter(self, seen: SeenSlot, flight: Flight, phase: Phase) -> float:
        id = flight.served.id
        command = EnterPhase(seen.state.slot, id, phase, self._elapsed(seen, flight))
        await self._voice.say(seen, f"{id}/{phase}", command)
        return AT_ONCE

    async def _complete(self, seen: SeenSlot, flight: Flight, sight: Sight) -> float:
        """Not before its status says that it answers: whoever hears of the end looks there."""
        if too_soon := await self._voice.record(seen, sight.status):
            return too_soon
        for gone in seen.state.leaving:
            await self._voice.match(seen, gone)
        id = flight.served.id
        command = CompleteActivation(seen.state.slot, id, self._elapsed(seen, flight))
        await self._voice.say(seen, f"{id}/complete", command)
        return AT_ONCE

    def _elapsed(self, seen: SeenSlot, flight: Flight) -> int:
        """Milliseconds since it was asked for. Clocks that differ, or are set, are believed once,
        when it is first seen: from then on they change nothing."""
        id, now = flight.served.id, time.monotonic()
        if self._began[0] != id:
            assert seen.requested_at is not None
            told = (datetime.now(UTC) - seen.requested_at).total_seconds()
            least = flight.phases[-1].ms / 1000 if flight.phases else 0.0
            self._began = (id, now - max(told, least))
        return int((now - self._began[1]) * 1000)


def instance(seen: SeenSlot, served: Served) -> Instance:
    """What is wanted of `served`; only who serves is scaled."""
    current, replicas = seen.state.current, seen.state.replicas
    scaled = replicas is not None and current is not None and current.id == served.id
    wanted = replicas if scaled and replicas is not None else max(1, served.manifest.replicas.min)
    settled = current is not None and current.id == served.id and not seen.state.stopped
    return Instance(seen.namespace, seen.state.slot, served, wanted, settled)


def together(serving: SlotStatus, candidate: SlotStatus) -> SlotStatus:
    """The status of who serves, with all the pods and GPUs that the slot has."""
    return msgspec.structs.replace(
        serving, pods=serving.pods + candidate.pods, gpus=serving.gpus + candidate.gpus
    )
