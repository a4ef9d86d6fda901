from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from schemas.api.jobs import JobRow
from schemas.job import (
    JobAttemptFailed,
    JobCancelled,
    JobCommitStarted,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobProgress,
    JobStarted,
)
from schemas.live import Tick
from tests.cli.fake_gateway import JOB, MIB, NOW, FakeGateway, job_row
from tests.cli.support import CommandLine, meanwhile

DONE = JobCompleted(job=JOB, attempt=1, bytes=100 * MIB, files=2)


def tick(done: int, note: str = "") -> Tick:
    return Tick(JOB, "default", 1, "w1", NOW, "fetch", done, 100 * MIB, rate=10.0 * MIB, note=note)


def telling(gateway: FakeGateway, *events: JobEvent, **row: Any) -> Callable[[], None]:
    """Tells `events` once somebody listens; the last of them makes the row what `row` says."""

    def tell() -> None:
        gateway.subscribed()
        for event in events[:-1]:
            gateway.happen(event)
        gateway.happen(events[-1], **row)

    return tell


def test_an_install_is_watched_to_its_end(gateway: FakeGateway, mllm: CommandLine) -> None:
    tell = telling(
        gateway,
        JobStarted(job=JOB, attempt=1, worker="w1"),
        JobProgress(job=JOB, attempt=1, phase="fetch", bytes_done=30 * MIB),
        JobCommitStarted(job=JOB, attempt=1, manifest="m"),
        DONE,
        status="completed",
        bytes_done=100 * MIB,
        finished_at=NOW,
    )

    with meanwhile(tell):
        outcome = mllm("weights", "install", "org/model", "--watch", "--progress", "plain")

    assert outcome.code == 0
    assert outcome.out.splitlines()[1].split()[:5] == [
        JOB, "install", "org/model", "completed", "100%",
    ]  # fmt: skip
    said = [line.split(", ")[0] for line in outcome.err.splitlines()]
    assert said == [
        "install org/model: pending",
        "install org/model: started",
        "install org/model: fetch",
        "install org/model: commit",
        "install org/model: completed",
    ]


def test_what_is_printed_at_the_end_has_seen_the_end(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    with meanwhile(telling(gateway, DONE, status="completed", finished_at=NOW)):
        outcome = mllm("weights", "install", "org/model", "--watch", "-o", "json")

    assert msgspec.json.decode(outcome.out, type=JobRow).status == "completed"
    assert gateway.last("GET", f"/jobs/{JOB}").query == {"min_sequence": ["2"]}


def test_progress_for_programs_is_json_lines(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.put(job_row(status="running", attempt=1))

    def tell() -> None:
        gateway.subscribed()
        gateway.tick(tick(30 * MIB, note="stalled 12s, retry 1/6 in 4s"))
        gateway.happen(DONE, status="completed", finished_at=NOW)

    with meanwhile(tell):
        outcome = mllm("jobs", "watch", JOB, "--progress", "json", "-q")

    told = [msgspec.json.decode(line) for line in outcome.err.splitlines()]
    assert [one["percent"] for one in told] == [0, 30, 100]
    assert told[1]["note"] == "stalled 12s, retry 1/6 in 4s"
    assert outcome.out == f"{JOB}\n"


@pytest.mark.parametrize(
    ("code", "exit"),
    [
        ("not_found", 3),
        ("gated", 4),
        ("conflict", 5),
        ("verification_failed", 6),
        ("no_space", 7),
        ("timeout", 8),
        ("hub_unreachable", 10),
        ("unsafe_path", 10),
    ],
)
@pytest.mark.parametrize("verb", ["watch", "wait"])
def test_a_failed_job_exits_by_its_code(
    gateway: FakeGateway, mllm: CommandLine, verb: str, code: str, exit: int
) -> None:
    gateway.put(job_row(status="running"))
    failed = JobFailed(job=JOB, code=code, reason="the reason", remedy="the remedy")

    with meanwhile(telling(gateway, failed, status="failed", code=code)):
        outcome = mllm("jobs", verb, JOB)

    assert outcome.code == exit
    assert outcome.err.endswith(
        f"error: job {JOB} failed: the reason\nremedy: the remedy\nrequest id: request-7\n"
    )


def test_a_job_that_failed_before_exits_by_its_code(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.put(job_row(status="failed", code="verification_failed", reason="a.bin differs"))

    outcome = mllm("jobs", "wait", JOB)

    assert outcome.code == 6
    assert "a.bin differs" in outcome.err
    assert gateway.subscribers == 0


def test_a_cancelled_job_exits_with_11(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.put(job_row(status="running"))

    with meanwhile(telling(gateway, JobCancelled(job=JOB), status="cancelled")):
        outcome = mllm("jobs", "watch", JOB)

    assert outcome.code == 11


def test_waiting_shows_no_progress_unless_asked(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.put(job_row(status="running"))

    with meanwhile(telling(gateway, DONE, status="completed")):
        outcome = mllm("jobs", "wait", JOB)

    assert (outcome.code, outcome.err) == (0, "")
    assert JOB in outcome.out


def test_patience_ends_with_exit_8_and_the_job_goes_on(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.put(job_row(status="running"))

    outcome = mllm("jobs", "wait", JOB, "--timeout", "0.1s")

    assert outcome.code == 8
    assert f"mllm jobs watch {JOB}" in outcome.err


def test_several_jobs_are_waited_for_and_the_first_failure_counts(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    ids = [f"01JD000000000000000000000{n}" for n in range(3)]
    gateway.put(job_row(ids[0], status="completed"))
    gateway.put(job_row(ids[1], status="failed", code="no_space"))
    gateway.put(job_row(ids[2], status="cancelled"))

    outcome = mllm("jobs", "wait", *ids, "-q")

    assert outcome.code == 7
    assert outcome.out.split() == ids
    assert f"job {ids[2]} cancelled" in outcome.err


def test_a_gateway_that_restarts_is_found_again(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.put(job_row(status="running", attempt=1))

    def tell() -> None:
        gateway.subscribed()
        gateway.tick(tick(30 * MIB))
        gateway.cut()
        gateway.subscribed(2)
        gateway.happen(DONE, status="completed")

    with meanwhile(tell):
        outcome = mllm("jobs", "watch", JOB, "--progress", "json")

    assert outcome.code == 0
    notes = [msgspec.json.decode(line)["note"] for line in outcome.err.splitlines()]
    assert "the stream ended; connecting again" in notes


def test_without_a_stream_the_job_is_asked_for(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.refuse("/events", "not_found", 404)
    gateway.put(job_row(status="running"))

    def finish() -> None:
        gateway.asked(3)
        gateway.put(job_row(status="completed", bytes_done=100 * MIB, finished_at=NOW))

    with meanwhile(finish):
        outcome = mllm("jobs", "watch", JOB)

    assert outcome.code == 0
    assert "completed" in outcome.out


def test_a_proxy_that_is_restarted_does_not_end_the_watch(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.put(job_row(status="running"))
    gateway.refuse("/events", "unavailable", 502)

    def restart() -> None:
        gateway.asked(3)
        del gateway.refusals["/events"]
        gateway.subscribed()
        gateway.happen(DONE, status="completed")

    with meanwhile(restart):
        outcome = mllm("jobs", "wait", JOB)

    assert outcome.code == 0


def test_a_stream_that_begins_anew_is_followed_from_the_row(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.put(job_row(status="running", position=9000))

    def tell() -> None:
        gateway.subscribed()
        gateway.put(job_row(status="failed", code="no_space", reason="full", position=3))
        reset = b'event: stream.reset\ndata: {"data":{"epoch":"e2","sequence":3}}\n\n'
        with gateway.change:
            gateway.frames.append(("stream.reset", reset))
            gateway.change.notify_all()

    with meanwhile(tell):
        outcome = mllm("jobs", "watch", JOB)

    assert outcome.code == 7


def test_a_token_that_is_revoked_meanwhile_ends_the_watch(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.put(job_row(status="running"))

    def revoke() -> None:
        gateway.subscribed()
        gateway.refuse("/events", "token_revoked", 401, detail="this token was revoked")
        gateway.cut()

    with meanwhile(revoke):
        outcome = mllm("jobs", "watch", JOB)

    assert outcome.code == 4


def test_a_retry_is_announced_and_then_followed(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.put(job_row(status="running", attempt=1))
    failed = JobAttemptFailed(
        job=JOB,
        attempt=1,
        code="hub_unreachable",
        reason="the Hub went away",
        retryable=True,
        next_attempt_at=NOW + timedelta(days=3650),
    )
    tell = telling(
        gateway, failed, JobStarted(job=JOB, attempt=2, worker="w2"), DONE, status="completed"
    )

    with meanwhile(tell):
        outcome = mllm("jobs", "watch", JOB, "--progress", "plain")

    assert "attempt 1 failed: the Hub went away; trying again in" in outcome.err
    assert outcome.code == 0


def test_read_models_that_are_down_do_not_hide_the_end(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    def tell() -> None:
        gateway.subscribed()
        gateway.refuse(f"/jobs/{JOB}", "read_models_unavailable", 503, detail="down")
        gateway.happen(DONE)

    with meanwhile(tell):
        outcome = mllm("weights", "install", "org/model", "--wait")

    assert outcome.code == 0
    assert "the job's row can not be shown: down" in outcome.err


def test_a_job_is_heard_of_and_not_asked_for_again_and_again(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.put(job_row(status="running"))

    with meanwhile(telling(gateway, DONE, status="completed")):
        mllm("jobs", "wait", JOB)

    assert [seen.path for seen in gateway.seen] == [f"/jobs/{JOB}", "/events", f"/jobs/{JOB}"]
