"""What stands behind a failure is told line by line."""

import pytest

from cli.complaints import complain
from cli.evidence import headed, indented, lines_of
from cli.failures import Failure
from cli.tables import facts

WORDS = "the server ended with exit code 1:\nloading\nCUDA error: out of memory"


def test_last_words_are_lines_below_what_happened() -> None:
    assert headed(WORDS) == (
        "the server ended with exit code 1",
        ("loading", "CUDA error: out of memory"),
    )
    assert headed("rolled back by me") == ("rolled back by me", ())
    assert headed("") == ("", ())


def test_a_refusal_tells_what_failed_and_who_holds_the_gpus() -> None:
    details = {
        "checks": [
            {"name": "schema", "outcome": "pass", "reason": "fine"},
            {"name": "gpus", "outcome": "fail", "reason": "none is free", "remedy": "free one"},
        ],
        "holders": [{"name": "active-llm", "gpus": 2}],
        "wanted": 2,
    }

    assert lines_of(details) == (
        "fail gpus: none is free (free one)",
        "GPUs held by active-llm: 2",
    )


def test_what_a_newer_server_says_otherwise_is_left_out() -> None:
    assert lines_of({"checks": "all of them", "holders": [1]}) == ()


def test_lines_stay_below_their_beginning_and_move_no_cursor() -> None:
    assert indented("first\nsecond\x1b[2J", 4) == "first\n    second\N{REPLACEMENT CHARACTER}[2J"
    assert facts([("Why", "first\nsecond"), ("How", "so")]) == "Why:  first\n      second\nHow:  so"


def test_a_failure_is_its_cause_its_lines_and_its_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    complain(Failure("it failed", "look", lines=("because", "of \x07 this")))

    assert capsys.readouterr().err.splitlines() == [
        "error: it failed",
        "  because",
        "  of \N{REPLACEMENT CHARACTER} this",
        "remedy: look",
    ]
