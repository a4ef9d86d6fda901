"""Many subscribers at once. The bench has ten times as many, and stricter bounds."""

import statistics

from tests.bench.sse import measure

SUBSCRIBERS = 200


def test_a_crowd_hears_everything_once_soon_and_costs_little() -> None:
    outcome = measure(SUBSCRIBERS, seconds=2.0, rate=20.0)

    assert outcome.lost == 0
    assert statistics.quantiles(outcome.delays, n=100)[98] < 2.0
    assert outcome.kib < 40
