"""The hash chain: nothing that was said, or who said it and when, changes unnoticed."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands.memory import MemoryLog
from schemas.job import JobProgress
from schemas.log import Commit, Head, Stream, broken_link, head, new_commit
from schemas.message import Context

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def history(id: str, commits: int) -> Sequence[Commit]:
    """One aggregate's commits, of one event, of two, and so on."""
    written: list[Commit] = []
    for number in range(commits):
        said = Context(
            command=f"{id}/{number}",
            at=START + timedelta(seconds=number),
            actor="token:t1",
            causation="why",
            traceparent="00-1-2-01",
        )
        events = [JobProgress(id, 1, "fetch", n) for n in range(number + 1)]
        commit = new_commit(head(written), Stream("default", "job", id), events, said)
        written.append(msgspec.structs.replace(commit, position=number + 1))
    return written


WHOLE = history("j1", 4)


def changed(commit: Commit, field: str, value: object) -> Commit:
    return msgspec.structs.replace(commit, **{field: value})


def test_a_history_as_it_was_written_is_whole() -> None:
    assert broken_link(WHOLE) is None
    assert broken_link([]) is None


def test_the_whole_log_is_checked_as_well_as_one_history() -> None:
    mixed = [commit for pair in zip(WHOLE, history("j2", 4), strict=True) for commit in pair]
    assert broken_link(mixed) is None
    mixed[2] = changed(mixed[2], "actor", "token:t2")
    assert broken_link(mixed) is mixed[4]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream", Stream("default", "job", "j9")),
        ("stream", Stream("other", "job", "j1")),
        ("at", START + timedelta(microseconds=1)),
        ("command", "c9"),
        ("actor", "token:t9"),
        ("correlation", "r9"),
        ("causation", ""),
        ("traceparent", ""),
        ("previous", "00"),
        ("types", ("job.paused",)),
        ("data", b"[]"),
    ],
)
def test_whatever_is_changed_breaks_the_chain(field: str, value: object) -> None:
    for place in range(3):
        story = list(WHOLE)
        story[place] = changed(story[place], field, value)
        assert broken_link(story) is not None


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(st.data(), st.integers(0, 2), st.integers(1, 255))
def test_any_changed_byte_breaks_the_chain(data: st.DataObject, place: int, flip: int) -> None:
    story = list(WHOLE)
    stored = bytearray(story[place].data)
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= flip
    story[place] = changed(story[place], "data", bytes(stored))
    assert broken_link(story) is WHOLE[place + 1]


def test_whatever_is_left_out_or_moved_breaks_the_chain() -> None:
    for place in range(3):
        assert broken_link([*WHOLE[:place], *WHOLE[place + 1 :]]) is WHOLE[place + 1]
    assert broken_link([WHOLE[1], WHOLE[0], *WHOLE[2:]]) is WHOLE[1]
    assert broken_link([*WHOLE, WHOLE[3]]) is WHOLE[3]


def test_what_is_added_breaks_the_chain_unless_it_follows() -> None:
    said = Context(command="c9", at=START, actor="token:t1")
    events = [JobProgress("j1", 1, "fetch")]
    forged = new_commit(Head(2, "00"), WHOLE[0].stream, events, said)
    assert broken_link([*WHOLE, forged]) is forged
    assert broken_link([*WHOLE, new_commit(head(WHOLE), WHOLE[0].stream, events, said)]) is None


async def test_a_log_is_written_whole() -> None:
    log = MemoryLog()
    for commit in WHOLE:
        said = Context(command=commit.command, at=commit.at, actor=commit.actor)
        at = head(await log.load(commit.stream))
        await log.append(commit.stream, at, commit.events, said)
    assert broken_link(await log.load(WHOLE[0].stream)) is None
