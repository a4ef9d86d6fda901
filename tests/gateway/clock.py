"""The clock that a gateway's open connections go by, which a test sets ahead."""

import time
from datetime import datetime, timedelta, tzinfo

import pytest

from gateway import connections


class Clock:
    """In the place of the modules' own: the time it is, and as much more as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr(connections, "time", self)
        monkeypatch.setattr(connections, "datetime", self)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def now(self, zone: tzinfo) -> datetime:
        return datetime.now(zone) + timedelta(seconds=self.ahead)
