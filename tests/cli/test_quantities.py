from datetime import UTC, datetime, timedelta

import pytest

from cli.quantities import age, duration, parse_duration, parse_size, size


@pytest.mark.parametrize(
    ("text", "bytes"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("2GiB", 2 << 30),
        ("2Gi", 2 << 30),
        ("500MB", 500_000_000),
        ("1.5 G", 1_500_000_000),
        ("64 KiB", 64 << 10),
        ("40MB/s", 40_000_000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, bytes: int) -> None:
    assert parse_size(text) == bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1", "2XB", "1e9", "2 GiB extra"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("7d", 604800), ("0.5s", 0.5)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "10x", "m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_sizes_are_told_in_the_unit_that_fits() -> None:
    told = [size(count) for count in (0, 1023, 1024, 1536, 5 << 20, 1288490189, 3 << 40)]

    assert told == ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "1.2 GiB", "3.0 TiB"]


def test_durations_are_told_coarsely() -> None:
    told = [duration(s) for s in (-1, 0, 59, 60, 90, 1200, 3600, 18720, 86400 * 12)]

    assert told == ["0s", "0s", "59s", "1m", "1m30s", "20m", "1h", "5h12m", "12d"]


def test_an_age_is_the_time_since() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)

    assert age(now - timedelta(minutes=3), now) == "3m"
    assert age(None, now) == "-"
