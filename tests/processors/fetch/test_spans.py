"""Intervals say exactly which bytes are there."""

import random

from processors.fetch.spans import Spans


def test_touching_intervals_become_one() -> None:
    spans = Spans([(0, 2), (4, 6), (2, 4)])

    assert list(spans) == [(0, 6)]
    assert (spans.prefix, spans.covered) == (6, 6)


def test_a_gap_is_seen_from_wherever_one_looks() -> None:
    spans = Spans([(2, 4), (6, 8)])

    assert spans.prefix == 0
    assert spans.missing(0, 10) == [(0, 2), (4, 6), (8, 10)]
    assert spans.missing(3, 7) == [(4, 6)]
    assert spans.missing(2, 4) == []
    assert spans.missing(5, 5) == []


def test_an_empty_interval_is_nothing() -> None:
    assert list(Spans([(3, 3)])) == []


def test_they_agree_with_a_set_of_bytes() -> None:
    chance = random.Random(0)
    for _ in range(300):
        spans, there = Spans(), set[int]()
        for _ in range(chance.randrange(12)):
            start = chance.randrange(40)
            end = start + chance.randrange(8)
            spans.add(start, end)
            there |= set(range(start, end))
        low = chance.randrange(48)
        high = low + chance.randrange(48 - low + 1)

        assert {byte for start, end in spans for byte in range(start, end)} == there
        assert {byte for start, end in spans.missing(low, high) for byte in range(start, end)} == (
            set(range(low, high)) - there
        )
        assert spans.covered == len(there)
        assert spans.prefix == next(byte for byte in range(50) if byte not in there)
