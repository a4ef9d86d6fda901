"""Slots where something happened, each said a few times a second at most, and never too few."""

import asyncio
import time

Slot = tuple[str, str]
"""Namespace and name."""


class Waking:
    """However often a slot is rung for, it comes once each `pause` seconds; and once more after
    the last time."""

    def __init__(self, pause: float = 0.3) -> None:
        self._pause = pause
        self._due: dict[Slot, float] = {}
        self._last: dict[Slot, float] = {}
        self._rung = asyncio.Event()

    def ring(self, slot: Slot) -> None:
        if slot not in self._due:
            self._due[slot] = self._last.get(slot, float("-inf")) + self._pause
            self._rung.set()

    async def next(self) -> Slot:
        """Whose turn it is."""
        while True:
            slot = min(self._due, key=self._due.__getitem__, default=None)
            if slot is not None and self._due[slot] <= time.monotonic():
                del self._due[slot]
                self._last[slot] = time.monotonic()
                return slot
            await self._wait(slot)

    async def _wait(self, slot: Slot | None) -> None:
        """Until the first is due, or another is rung for."""
        self._rung.clear()
        left = None if slot is None else self._due[slot] - time.monotonic()
        try:
            await asyncio.wait_for(self._rung.wait(), left)
        except TimeoutError:
            return
