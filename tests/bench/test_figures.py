"""The arithmetic of benches, and that none of their lines is lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.figures import Bound, Figure, Measurement, NotMeasured, in_turn, median_ratio
from tests.bench.report import table, taken, write

FAST = Bound("ours / theirs", 1.0)
MUCH = Bound("rate", 0.4, "higher")


def test_a_ratio_is_the_median_of_pairs_so_that_a_slow_moment_counts_for_both() -> None:
    assert median_ratio([(1.0, 2.0), (30.0, 60.0), (1.0, 1.0)]) == 0.5


@pytest.mark.parametrize(
    ("bound", "value", "holds"),
    [(FAST, 1.0, True), (FAST, 1.01, False), (MUCH, 0.4, True), (MUCH, 0.39, False)],
)
def test_a_bound_is_the_last_value_that_is_good_enough(
    bound: Bound, value: float, holds: bool
) -> None:
    assert bound.figure(value).holds is holds


def test_programs_take_turns() -> None:
    order: list[str] = []

    def one(run: int) -> float:
        order.append("one")
        return run

    def other(run: int) -> float:
        order.append("other")
        return 2.0 * run

    assert in_turn(2, one=one, other=other) == {"one": [0, 1], "other": [0.0, 2.0]}
    assert order == ["one", "other", "one", "other"]


def test_what_breaks_half_way_keeps_its_figures_and_says_what_is_missing(tmp_path: Path) -> None:
    def take(_: int) -> Iterator[Figure]:
        yield FAST.figure(0.5)
        raise NotMeasured("there is no such tool")

    found = taken(Measurement("half", (FAST, MUCH), take), 1)
    write(found.figures, tmp_path / "deep" / "bench.json")

    assert found.trouble == "there is no such tool"
    assert [line.split()[-2:] for line in table(found.figures)][1:] == [
        ["ratio", "holds"],
        ["NOT", "MEASURED"],
    ]
    assert json.loads((tmp_path / "deep" / "bench.json").read_text()) == [
        {
            "name": "ours / theirs",
            "value": 0.5,
            "unit": "ratio",
            "bound": 1.0,
            "better": "lower",
            "holds": True,
        },
        {
            "name": "rate",
            "value": None,
            "unit": "ratio",
            "bound": 0.4,
            "better": "higher",
            "holds": False,
        },
    ]


def test_a_line_that_nobody_mentions_is_reported_too() -> None:
    def take(_: int) -> Iterator[Figure]:
        yield from ()

    found = taken(Measurement("silent", (FAST,), take), 1)

    assert [figure.value for figure in found.figures] == [None]
    assert found.trouble
