"""A job's row, from the events of its history. No database."""

from projections.jobs import row_of
from schemas.api.jobs import JobRow
from schemas.job import (
    DeleteSpec,
    JobAttemptFailed,
    JobCancelled,
    JobCancelRequested,
    JobCommitStarted,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobPaused,
    JobPauseRequested,
    JobPriorityChanged,
    JobProgress,
    JobResumed,
    JobStarted,
)
from schemas.log import Commit
from tests.projections.telling import ACTOR, JOB, SPEC, TARGET, Told, at, job, requested

STARTED = JobStarted(JOB, 1, "worker-1")


def row(*events: JobEvent) -> JobRow:
    """The row after a request at position 1 and the events, one commit each."""
    told = Told()
    told(job(), requested())
    for event in events:
        told(job(), event)
    found = row_of(told.commits)
    assert found is not None
    return found


def test_a_request_is_a_pending_job_with_everything_that_was_asked() -> None:
    assert row() == JobRow(
        namespace="default",
        id=JOB,
        type="install",
        status="pending",
        target=TARGET,
        store="default",
        priority=1,
        requested_at=at(1),
        requested_by=ACTOR,
        updated_at=at(1),
        position=1,
        correlation="request-1",
        model="org/model",
        revision="main",
        commit="c0ffee",
        bytes_total=30,
        files_total=2,
    )


def test_a_job_that_brings_nothing_has_no_model() -> None:
    told = Told()
    told(job(), requested(spec=DeleteSpec()))
    found = row_of(told.commits)
    assert found is not None
    assert (found.type, found.model, found.bytes_total) == ("delete", "", 0)


def test_what_never_was_requested_has_no_row() -> None:
    told = Told()
    told(job(), STARTED)
    assert row_of(told.commits) is None


def test_a_row_says_when_and_where_it_changed_last() -> None:
    changed = row(STARTED, JobProgress(JOB, 1, "fetch"))
    assert (changed.position, changed.updated_at) == (3, at(3))


def test_an_attempt_runs_on_its_worker_from_when_the_first_began() -> None:
    again = row(
        STARTED,
        JobAttemptFailed(JOB, 1, "stalled", "no bytes", True, at(99)),
        JobStarted(JOB, 2, "worker-2"),
    )
    assert (again.status, again.attempt, again.worker) == ("running", 2, "worker-2")
    assert again.started_at == at(2)
    assert (again.code, again.reason, again.next_attempt_at) == ("", "", None)


def test_progress_shows_and_keeps_the_totals_that_a_worker_does_not_know() -> None:
    seen = row(STARTED, JobProgress(JOB, 1, "fetch", bytes_done=12, files_done=1))
    assert (seen.phase, seen.bytes_done, seen.files_done) == ("fetch", 12, 1)
    assert (seen.bytes_total, seen.files_total) == (30, 2)


def test_a_failed_attempt_says_why_and_when_the_next_one_is() -> None:
    failed = row(STARTED, JobAttemptFailed(JOB, 1, "stalled", "no bytes", True, at(99)))
    assert (failed.status, failed.failures) == ("retrying", 1)
    assert (failed.code, failed.reason, failed.next_attempt_at) == ("stalled", "no bytes", at(99))


def test_a_pause_shows_as_asked_for_until_it_is_carried_out() -> None:
    asked = row(STARTED, JobPauseRequested(JOB))
    assert (asked.status, asked.stopping) == ("running", "pause")
    paused = row(STARTED, JobPauseRequested(JOB), JobPaused(JOB))
    assert (paused.status, paused.stopping) == ("paused", "")


def test_a_pause_that_is_taken_back_in_time_leaves_the_job_running() -> None:
    resumed = row(STARTED, JobPauseRequested(JOB), JobResumed(JOB))
    assert (resumed.status, resumed.stopping) == ("running", "")


def test_a_cancelled_job_has_ended() -> None:
    cancelled = row(STARTED, JobCancelRequested(JOB), JobCancelled(JOB))
    assert (cancelled.status, cancelled.stopping) == ("cancelled", "")
    assert cancelled.finished_at == at(4)


def test_a_failed_job_says_why_and_what_helps() -> None:
    failed = row(STARTED, JobFailed(JOB, "gated", "a licence is to be accepted", "accept it"))
    assert (failed.status, failed.code, failed.remedy) == ("failed", "gated", "accept it")
    assert failed.finished_at == at(3)


def test_a_retry_begins_with_a_clean_record_and_keeps_what_was_done() -> None:
    retried = row(
        STARTED,
        JobProgress(JOB, 1, "fetch", 12, 30, 1, 2),
        JobAttemptFailed(JOB, 1, "stalled", "no bytes", True),
        JobFailed(JOB, "stalled", "no bytes", "try again"),
        JobResumed(JOB, retry=True),
    )
    assert (retried.status, retried.failures, retried.finished_at) == ("pending", 0, None)
    assert (retried.code, retried.reason, retried.remedy) == ("", "", "")
    assert retried.bytes_done == 12


def test_a_clean_retry_begins_with_nothing_done() -> None:
    retried = row(
        STARTED,
        JobProgress(JOB, 1, "fetch", 12, 30, 1, 2),
        JobFailed(JOB, "stalled", "no bytes"),
        JobResumed(JOB, retry=True, clean=True),
    )
    assert (retried.bytes_done, retried.files_done, retried.phase) == (0, 0, "")


def test_a_completed_job_has_done_all_there_was() -> None:
    done = row(STARTED, JobCommitStarted(JOB, 1, "manifest"), JobCompleted(JOB, 1, 31, 3))
    assert (done.status, done.phase, done.finished_at) == ("completed", "commit", at(4))
    assert (done.bytes_done, done.bytes_total, done.files_done, done.files_total) == (31, 31, 3, 3)


def test_a_priority_changes() -> None:
    assert row(JobPriorityChanged(JOB, 0)).priority == 0


def test_what_a_newer_version_wrote_is_left_out_of_the_row() -> None:
    told = Told()
    told(job(), requested())
    mixed = told(job(), STARTED)
    told.commits[1] = Commit(
        position=2,
        stream=mixed.stream,
        at=mixed.at,
        command="c",
        actor=ACTOR,
        correlation="",
        causation="",
        traceparent="",
        previous="",
        types=("job.teleported", "job.started", "job.started"),
        data=b'[{"type":"job.teleported","v":1},'
        b'{"type":"job.started","v":1,"job":"x","attempt":3,"worker":"w"},'
        b'{"type":"job.started","v":99,"job":"x","attempt":4,"worker":"w"}]',
    )
    found = row_of(told.commits)
    assert found is not None
    assert found.attempt == 3


def test_the_spec_is_that_of_the_request() -> None:
    assert row().revision == SPEC.revision
