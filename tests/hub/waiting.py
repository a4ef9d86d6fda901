"""Waiting for what another thread or process will do."""

import time
from collections.abc import Callable

from tests.support import PATIENCE


def until(holds: Callable[[], bool], within: float = PATIENCE) -> None:
    """Return once `holds`; AssertionError if that takes more than `within` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)
