"""How hard the engine may pull: the limits, the shared bandwidth, the patience of one range."""

import random
import threading
import time
from collections.abc import Callable

import msgspec

from processors.fetch.errors import FetchError, FetchFailed, HubUnreachable, Setback

MIB = 1 << 20
LONGEST_BACKOFF = 30.0
LARGEST_CHUNK = 256 << 10
SMALLEST_CHUNK = 4 << 10


class Limits(msgspec.Struct, frozen=True):
    """Sizes are bytes, times are seconds.

    `part` is the longest range asked for at once, and so the most that one stream can ever have
    to fetch again. `window` bounds the memory for bytes that wait for their turn to be hashed.
    A server that wants us to wait longer than `longest_wait` ends the attempt instead.
    """

    streams: int = 16
    streams_per_file: int = 16
    part: int = 4 * MIB
    window: int = 24 * MIB
    bandwidth: int | None = None
    stall: float = 30.0
    connect: float = 10.0
    retries: int = 6
    backoff: float = 0.5
    longest_wait: float = 300.0
    reserve: int = 2 << 30

    def __post_init__(self) -> None:
        positive = (self.streams, self.streams_per_file, self.part, self.stall, self.connect)
        if min(positive) <= 0 or (self.bandwidth is not None and self.bandwidth <= 0):
            raise ValueError(f"limits must be positive: {self}")

    @property
    def chunk(self) -> int:
        """The most to take from a socket at once: little, if little may come at all."""
        if self.bandwidth is None:
            return LARGEST_CHUNK
        share = int(self.bandwidth * Bandwidth.BURST / self.streams)
        return max(SMALLEST_CHUNK, min(LARGEST_CHUNK, share))


class Bandwidth:
    """A token bucket that all streams draw from, kept as the moment at which it is full again."""

    BURST = 0.1  # seconds worth of bytes that may go at once

    def __init__(self, rate: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._clear = 0.0
        self._lock = threading.Lock()

    def spend(self, size: int) -> float:
        """Account for `size` bytes that came; return for how many seconds to take no more."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock()
            self._clear = max(self._clear, now - self.BURST) + size / self._rate
            return max(0.0, self._clear - now)


class Patience:
    """How often one range may fail in a row. Every byte that arrives refills it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.failures = 0

    def refill(self) -> None:
        self.failures = 0

    def after(self, setback: Setback) -> float:
        """Seconds to wait before the next try. Raises when there will be none."""
        self.failures += 1
        limits = self._limits
        if self.failures > limits.retries or (setback.wait or 0.0) > limits.longest_wait:
            raise self._defeat(setback)
        backoff = min(limits.backoff * 2.0 ** (self.failures - 1), LONGEST_BACKOFF)
        jittered = backoff * random.uniform(0.5, 1.5)
        return max(jittered, setback.wait or 0.0)

    def _defeat(self, setback: Setback) -> FetchError:
        if not setback.reached:
            return HubUnreachable(str(setback))
        return FetchFailed(str(setback), retry_after=setback.wait)
