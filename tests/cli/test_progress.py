from datetime import timedelta

import msgspec
import pytest

from cli.drawing import bar, clipped, document, hindrance, plain, screen
from cli.progress import Progress, advance, begin, decode
from cli.tables import width
from schemas.api.jobs import JobRow
from schemas.job import (
    JobAttemptFailed,
    JobCancelled,
    JobCancelRequested,
    JobCommitStarted,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobPaused,
    JobPauseRequested,
    JobProgress,
    JobResumed,
    JobStarted,
)
from schemas.live import ActiveFile, Tick
from tests.cli.fake_gateway import JOB, MIB, NOW, job_row

STARTED = JobStarted(job=JOB, attempt=1, worker="w1")


def tick(done: int, *, attempt: int = 1, **fields: object) -> Tick:
    usual = {"phase": "fetch", "bytes_total": 100 * MIB, "files_total": 2, "rate": 10.0 * MIB}
    return msgspec.structs.replace(
        Tick(JOB, "default", attempt, "w1", NOW, bytes_done=done), **(usual | fields)
    )


def seen(*news: JobRow | Tick | JobEvent) -> Progress:
    progress = begin(job_row())
    for one in news:
        progress = advance(progress, one)
    return progress


def test_it_begins_with_what_the_row_says() -> None:
    progress = begin(job_row(status="running", phase="fetch", bytes_done=50 * MIB, position=7))

    assert (progress.status, progress.phase, progress.percent) == ("running", "fetch", 50)
    assert progress.position == 7


def test_live_counts_move_it() -> None:
    progress = seen(STARTED, tick(30 * MIB, active=(ActiveFile("a", 1, 2),), files_done=1))

    assert (progress.status, progress.phase) == ("running", "fetch")
    assert (progress.percent, progress.files_done) == (30, 1)
    assert progress.seconds_left == pytest.approx(7.0)


def test_it_never_shows_all_of_it_before_the_end() -> None:
    everything = seen(STARTED, tick(100 * MIB, files_done=2))
    committing = advance(everything, JobCommitStarted(job=JOB, attempt=1, manifest="m"))
    completed = advance(committing, JobCompleted(job=JOB, attempt=1, bytes=100 * MIB, files=2))

    assert (everything.percent, committing.percent, completed.percent) == (99, 99, 100)
    assert "─" in bar(everything.fraction)
    assert "─" not in bar(completed.fraction)
    assert committing.phase == "commit"
    assert not committing.ended
    assert completed.ended


def test_an_older_attempt_has_no_say() -> None:
    progress = seen(
        STARTED, tick(50 * MIB), JobStarted(job=JOB, attempt=2, worker="w2"), tick(90 * MIB)
    )

    assert (progress.attempt, progress.bytes_done) == (2, 50 * MIB)


def test_a_coarser_count_does_not_turn_it_back() -> None:
    progress = seen(
        STARTED,
        tick(50 * MIB),
        JobProgress(job=JOB, attempt=1, phase="fetch", bytes_done=40 * MIB),
        job_row(status="running", attempt=1, phase="fetch", bytes_done=45 * MIB),
    )

    assert progress.bytes_done == 50 * MIB


def test_what_stands_in_the_way_is_said() -> None:
    stalled = seen(STARTED, tick(5, note="stalled 12s, retry 1/6 in 4s", rate=0.0))

    assert hindrance(stalled, NOW) == "stalled 12s, retry 1/6 in 4s"
    assert hindrance(advance(stalled, tick(6)), NOW) == ""
    assert stalled.seconds_left is None


def test_the_wait_for_the_next_attempt_counts_down() -> None:
    failed = JobAttemptFailed(
        job=JOB,
        attempt=1,
        code="hub_unreachable",
        reason="the Hub went away",
        retryable=True,
        next_attempt_at=NOW + timedelta(seconds=8),
    )
    progress = seen(STARTED, tick(5), failed)

    assert progress.status == "retrying"
    assert hindrance(progress, NOW) == "attempt 1 failed: the Hub went away; trying again in 8s"
    assert hindrance(progress, NOW + timedelta(seconds=8)).endswith("; trying again")


def test_pausing_and_going_on_are_seen() -> None:
    asked = seen(STARTED, tick(5), JobPauseRequested(job=JOB))
    paused = advance(asked, JobPaused(job=JOB))
    late = advance(paused, tick(50 * MIB))
    resumed = advance(late, JobResumed(job=JOB))

    assert hindrance(asked, NOW) == "pausing"
    assert (paused.status, hindrance(paused, NOW)) == ("paused", "")
    assert late == paused
    assert resumed.status == "pending"


def test_a_clean_start_has_nothing_yet() -> None:
    assert seen(STARTED, tick(5), JobResumed(job=JOB, retry=True, clean=True)).bytes_done == 0


def test_cancelling_is_said_until_it_is_done() -> None:
    asked = seen(STARTED, JobCancelRequested(job=JOB))

    assert hindrance(asked, NOW) == "cancelling"
    assert advance(asked, JobCancelled(job=JOB)).status == "cancelled"


def test_a_failure_brings_its_code_its_reason_and_its_remedy() -> None:
    progress = seen(STARTED, JobFailed(job=JOB, code="no_space", reason="full", remedy="make room"))

    assert (progress.status, progress.code) == ("failed", "no_space")
    assert (progress.reason, progress.remedy) == ("full", "make room")


def test_after_the_end_live_counts_change_nothing() -> None:
    ended = seen(STARTED, JobCompleted(job=JOB, attempt=1, bytes=1, files=1))

    assert advance(ended, tick(0)) == ended


def test_an_attempt_that_handed_its_work_over_changes_nothing() -> None:
    progress = seen(STARTED, tick(5 * MIB))

    assert advance(progress, tick(0, released=True)) == progress


def test_an_event_of_a_newer_server_is_passed_over() -> None:
    assert decode(b'{"type":"job.beamed","v":1}') is None
    assert decode(b'{"type":"job.paused","v":1,"job":"x","new":1}') == JobPaused(job="x")


def test_a_line_for_a_log_tells_everything_in_one() -> None:
    progress = seen(STARTED, tick(30 * MIB, files_done=1, note="stalled 12s, retry 1/6 in 4s"))

    assert plain(progress, NOW) == (
        "install org/model: fetch, 30%, 30.0 MiB of 100.0 MiB, 10.0 MiB/s, 7s left, 1/2 files,"
        " stalled 12s, retry 1/6 in 4s"
    )


def test_a_line_at_the_end_is_short() -> None:
    done = seen(STARTED, JobCompleted(job=JOB, attempt=1, bytes=100 * MIB, files=2))

    assert plain(done, NOW) == "install org/model: completed, 100.0 MiB, 2/2 files"


def test_a_target_of_another_name_is_told() -> None:
    assert plain(begin(job_row(target="mine")), NOW).startswith("install org/model as mine: ")


def test_a_program_gets_the_numbers() -> None:
    told = msgspec.json.decode(document(seen(STARTED, tick(30 * MIB))))

    assert told["percent"] == 30
    assert told["bytesDone"] == 30 * MIB
    assert told["secondsLeft"] == pytest.approx(7.0)


def test_a_screen_fits_the_terminal() -> None:
    files = tuple(ActiveFile(f"a/very/long/path/{'模型' * 30}/{n}.bin", 5, 9) for n in range(9))
    progress = seen(STARTED, tick(30 * MIB, active=files, note="n" * 300))

    lines = screen(progress, NOW, 79, colour=False)

    assert all(width(line) <= 79 for line in lines)
    assert len(lines) == 2 + 5 + 1


def test_a_screen_shows_files_by_their_ends() -> None:
    path = "a/" * 40 + "model-00001-of-00004.safetensors"
    progress = seen(STARTED, tick(1, active=(ActiveFile(path, 50 * MIB, 100 * MIB),)))

    line = screen(progress, NOW, 79, colour=False)[2]

    assert "…" in line
    assert "model-00001-of-00004.safetensors   50%  50.0 MiB of 100.0 MiB" in line


def test_a_name_from_a_stranger_can_not_draw_on_the_screen() -> None:
    evil = seen(STARTED, tick(1, active=(ActiveFile("\x1b[2J.bin", 1, 2),), note="\x1b[31m"))

    assert all("\x1b" not in line for line in screen(evil, NOW, 79, colour=False))


def test_text_is_cut_where_it_matters_least() -> None:
    assert clipped("abcdef", 4) == "abc…"
    assert clipped("abcdef", 4, front=True) == "…def"
    assert clipped("abc", 4) == "abc"
