"""What pods mean, where no cluster can be made to show it within a test's time."""

from datetime import datetime

import pytest

from processors.kserve.kinds import Meta, Pod
from processors.kserve.pods import lost

NOW = datetime.fromisoformat("2026-11-01T12:00:00Z")


@pytest.mark.parametrize(
    ("due", "is_lost"),
    [
        (None, False),
        ("2026-11-01T12:00:30Z", False),
        ("2026-11-01T11:59:30Z", False),
        ("2026-11-01T11:50:00Z", True),
    ],
)
def test_a_pod_is_lost_when_it_outlives_its_end_by_minutes(due: str | None, is_lost: bool) -> None:
    assert lost(Pod(metadata=Meta(deletion_timestamp=due)), NOW) == is_lost
