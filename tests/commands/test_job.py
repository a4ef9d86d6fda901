"""What a job allows, and what it makes of it."""

from datetime import UTC, datetime

import pytest

from commands.job import LOST_ATTEMPTS_ALLOWED, decider
from schemas.job import (
    BeginCommit,
    CancelJob,
    ChangePriority,
    CompleteJob,
    ConfirmStop,
    FailAttempt,
    FinishedFile,
    InstallSpec,
    JobAttemptFailed,
    JobCancelled,
    JobCancelRequested,
    JobCommand,
    JobCommitStarted,
    JobCompleted,
    JobEvent,
    JobFailed,
    JobPaused,
    JobPauseRequested,
    JobPriorityChanged,
    JobProgress,
    JobRequested,
    JobResumed,
    JobStarted,
    PauseJob,
    ReportProgress,
    RequestJob,
    ResumeJob,
    RetryJob,
    StartAttempt,
    VerifySpec,
)
from tests.given import Given

given = Given(decider)
ID = "01J00000000000000000000001"
SPEC = InstallSpec("org/model", "main", "c0ffee", "k1", 12, 4096)
LATER = datetime(2026, 11, 1, 12, tzinfo=UTC)
FILE = FinishedFile("a.safetensors", 4096, "sha256", "ab")

REQUESTED = JobRequested(ID, "org/model", "default", 1, SPEC)
STARTED = JobStarted(ID, 1, "w1")
COMMITTING = JobCommitStarted(ID, 1, "m1")
PAUSE_ASKED, PAUSED, RESUMED = JobPauseRequested(ID), JobPaused(ID), JobResumed(ID)
CANCEL_ASKED, CANCELLED = JobCancelRequested(ID), JobCancelled(ID)
FAILED_ATTEMPT = JobAttemptFailed(ID, 1, "io", "cut", True, LATER)
LAST_ATTEMPT = JobAttemptFailed(ID, 1, "io", "cut", True)
FAILED = JobFailed(ID, "io", "cut", "look")
COMPLETED = JobCompleted(ID, 1, 4096, 12)

RUNNING = (REQUESTED, STARTED)
RETRYING = (*RUNNING, FAILED_ATTEMPT)
ON_PAUSE = (*RUNNING, PAUSE_ASKED, PAUSED)
PAUSING = (*RUNNING, PAUSE_ASKED)
CANCELLING = (*RUNNING, CANCEL_ASKED)
COMMITTED = (*RUNNING, COMMITTING)
OVER: dict[str, tuple[JobEvent, ...]] = {
    "completed": (*COMMITTED, COMPLETED),
    "failed": (*RUNNING, LAST_ATTEMPT, FAILED),
    "cancelled": (*CANCELLING, CANCELLED),
}

OF_AN_ATTEMPT: tuple[JobCommand, ...] = (
    ReportProgress(ID, 1, "fetch"),
    ConfirmStop(ID, 1),
    BeginCommit(ID, 1, "m1"),
    CompleteJob(ID, 1, 4096, 12),
    FailAttempt(ID, 1, "io", "cut", True, LATER, 6),
)
OF_A_CALLER: tuple[JobCommand, ...] = (
    PauseJob(ID),
    ResumeJob(ID),
    RetryJob(ID),
    ChangePriority(ID, 0),
    CancelJob(ID),
    StartAttempt(ID, 1, "w1"),
)


def fail(attempt: int = 1, *, retryable: bool = True, allowed: int = 6) -> FailAttempt:
    return FailAttempt(ID, attempt, "io", "cut", retryable, LATER, allowed, "look")


def test_requesting_a_job_records_the_request() -> None:
    given().when(RequestJob(ID, "org/model", "default", 1, SPEC)).then(REQUESTED)


@pytest.mark.parametrize("history", [RUNNING, ON_PAUSE, *OVER.values()])
def test_requesting_it_again_changes_nothing(history: tuple[JobEvent, ...]) -> None:
    given(*history).when(RequestJob(ID, "org/model", "default", 1, SPEC)).then_nothing()


@pytest.mark.parametrize("command", [*OF_AN_ATTEMPT, *OF_A_CALLER], ids=lambda c: type(c).__name__)
def test_nothing_can_be_asked_of_a_job_that_never_was(command: JobCommand) -> None:
    given().when(command).then_rejected("not_found")


def test_the_first_attempt_is_number_one() -> None:
    given(REQUESTED).when(StartAttempt(ID, 1, "w1")).then(STARTED)


def test_an_attempt_after_a_failed_one_is_the_next_number() -> None:
    given(*RETRYING).when(StartAttempt(ID, 2, "w2")).then(JobStarted(ID, 2, "w2"))


def test_a_second_worker_takes_a_running_job_over() -> None:
    given(*RUNNING).when(StartAttempt(ID, 2, "w2")).then(JobStarted(ID, 2, "w2"))


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_of_all_who_would_make_the_next_attempt_one_does(attempt: int) -> None:
    given(*RUNNING).when(StartAttempt(ID, attempt, "w2")).then_rejected("fenced")
    given(*RETRYING).when(StartAttempt(ID, attempt, "w2")).then_rejected("fenced")


def test_a_paused_job_is_not_started() -> None:
    given(*ON_PAUSE).when(StartAttempt(ID, 1, "w1")).then_rejected("conflict")


@pytest.mark.parametrize("how", OVER)
def test_a_job_that_is_over_is_not_started(how: str) -> None:
    given(*OVER[how]).when(StartAttempt(ID, 1, "w1")).then_rejected("conflict")


@pytest.mark.parametrize("command", OF_AN_ATTEMPT, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize(
    "history",
    [
        (REQUESTED,),
        (*RUNNING, JobStarted(ID, 2, "w2")),
        RETRYING,
        ON_PAUSE,
        (*ON_PAUSE, RESUMED),
        *OVER.values(),
        (*OVER["failed"], JobResumed(ID, retry=True)),
    ],
)
def test_an_attempt_that_is_not_the_newest_of_a_running_job_is_fenced(
    history: tuple[JobEvent, ...], command: JobCommand
) -> None:
    given(*history).when(command).then_rejected("fenced")


def test_progress_is_recorded_with_the_files_it_names() -> None:
    report = ReportProgress(ID, 1, "fetch", 10, 100, 1, 12, (FILE,))
    given(*RUNNING).when(report).then(JobProgress(ID, 1, "fetch", 10, 100, 1, 12, (FILE,)))


def test_progress_is_still_heard_while_the_job_is_being_stopped() -> None:
    given(*CANCELLING).when(ReportProgress(ID, 1, "fetch", 10)).then(
        JobProgress(ID, 1, "fetch", 10)
    )


def test_a_running_job_is_asked_to_pause_and_says_when_its_bytes_have_stopped() -> None:
    asked = given(*RUNNING).when(PauseJob(ID))
    asked.then(PAUSE_ASKED)
    asked.and_then().when(ConfirmStop(ID, 1)).then(PAUSED)


@pytest.mark.parametrize("history", [(REQUESTED,), RETRYING])
def test_a_job_that_nobody_runs_pauses_at_once(history: tuple[JobEvent, ...]) -> None:
    given(*history).when(PauseJob(ID)).then(PAUSE_ASKED, PAUSED)


@pytest.mark.parametrize("history", [PAUSING, ON_PAUSE])
def test_pausing_twice_is_pausing_once(history: tuple[JobEvent, ...]) -> None:
    given(*history).when(PauseJob(ID)).then_nothing()


def test_a_job_that_is_being_cancelled_is_not_paused() -> None:
    given(*CANCELLING).when(PauseJob(ID)).then_rejected("conflict")


def test_a_paused_job_that_is_resumed_waits_for_a_worker() -> None:
    resumed = given(*ON_PAUSE).when(ResumeJob(ID))
    resumed.then(RESUMED)
    assert resumed.and_then().state.status == "pending"


def test_resuming_before_the_pause_was_carried_out_takes_it_back() -> None:
    resumed = given(*PAUSING).when(ResumeJob(ID))
    resumed.then(RESUMED)
    resumed.and_then().when(ConfirmStop(ID, 1)).then_rejected("conflict")
    resumed.and_then().when(ReportProgress(ID, 1, "fetch")).then(JobProgress(ID, 1, "fetch"))


@pytest.mark.parametrize("history", [(REQUESTED,), RUNNING, RETRYING])
def test_resuming_what_is_not_paused_changes_nothing(history: tuple[JobEvent, ...]) -> None:
    given(*history).when(ResumeJob(ID)).then_nothing()


def test_a_job_that_is_being_cancelled_is_not_resumed() -> None:
    given(*CANCELLING).when(ResumeJob(ID)).then_rejected("conflict")


def test_a_running_job_is_cancelled_once_its_bytes_have_stopped() -> None:
    asked = given(*RUNNING).when(CancelJob(ID, keep_partial=True))
    asked.then(JobCancelRequested(ID, keep_partial=True))
    asked.and_then().when(ConfirmStop(ID, 1)).then(JobCancelled(ID, keep_partial=True))


@pytest.mark.parametrize("history", [(REQUESTED,), RETRYING, ON_PAUSE, (*ON_PAUSE, RESUMED)])
def test_a_job_that_nobody_runs_is_cancelled_at_once(history: tuple[JobEvent, ...]) -> None:
    given(*history).when(CancelJob(ID)).then(CANCEL_ASKED, CANCELLED)


def test_cancelling_replaces_a_pause_that_was_not_carried_out() -> None:
    asked = given(*PAUSING).when(CancelJob(ID))
    asked.then(CANCEL_ASKED)
    asked.and_then().when(ConfirmStop(ID, 1)).then(CANCELLED)


@pytest.mark.parametrize("history", [CANCELLING, OVER["cancelled"]])
def test_cancelling_twice_is_cancelling_once(history: tuple[JobEvent, ...]) -> None:
    given(*history).when(CancelJob(ID, keep_partial=True)).then_nothing()


@pytest.mark.parametrize("history", [COMMITTED, (*COMMITTED, FAILED_ATTEMPT)])
@pytest.mark.parametrize("command", [CancelJob(ID), PauseJob(ID), ResumeJob(ID)])
def test_past_the_point_of_no_return_a_job_is_not_stopped(
    history: tuple[JobEvent, ...], command: JobCommand
) -> None:
    given(*history).when(command).then_rejected("conflict")


@pytest.mark.parametrize("how", ["completed", "failed"])
def test_a_job_that_is_over_is_not_cancelled(how: str) -> None:
    given(*OVER[how]).when(CancelJob(ID)).then_rejected("conflict")


@pytest.mark.parametrize("how", OVER)
@pytest.mark.parametrize("command", [PauseJob(ID), ResumeJob(ID), ChangePriority(ID, 0)])
def test_a_job_that_is_over_is_not_changed(how: str, command: JobCommand) -> None:
    given(*OVER[how]).when(command).then_rejected("conflict")


def test_a_job_whose_worker_died_while_it_was_being_cancelled_is_stopped_by_the_next() -> None:
    taken_over = given(*CANCELLING).when(StartAttempt(ID, 2, "w2")).and_then()
    taken_over.when(ConfirmStop(ID, 1)).then_rejected("fenced")
    taken_over.when(ConfirmStop(ID, 2)).then(CANCELLED)


def test_nobody_stops_a_job_unasked() -> None:
    given(*RUNNING).when(ConfirmStop(ID, 1)).then_rejected("conflict")


def test_a_failed_attempt_says_when_the_next_one_is() -> None:
    given(*RUNNING).when(fail()).then(FAILED_ATTEMPT)


def test_an_attempt_that_can_not_be_repeated_fails_the_job() -> None:
    given(*RUNNING).when(fail(retryable=False)).then(
        JobAttemptFailed(ID, 1, "io", "cut", False), FAILED
    )


def test_a_job_out_of_attempts_has_failed() -> None:
    given(*RUNNING).when(fail(allowed=1)).then(LAST_ATTEMPT, FAILED)
    second = given(*RETRYING, JobStarted(ID, 2, "w1"))
    second.when(fail(2, allowed=3)).then(JobAttemptFailed(ID, 2, "io", "cut", True, LATER))
    second.when(fail(2, allowed=2)).then(JobAttemptFailed(ID, 2, "io", "cut", True), FAILED)


@pytest.mark.parametrize("retryable", [True, False])
def test_an_attempt_that_fails_while_it_is_being_stopped_ends_as_was_asked(
    retryable: bool,
) -> None:
    broken = JobAttemptFailed(ID, 1, "io", "cut", retryable)
    given(*CANCELLING).when(fail(retryable=retryable)).then(broken, CANCELLED)
    given(*PAUSING).when(fail(retryable=retryable)).then(broken, PAUSED)


def test_a_job_whose_attempts_are_all_lost_fails_in_the_end() -> None:
    lost = [JobStarted(ID, n + 1, "w1") for n in range(LOST_ATTEMPTS_ALLOWED)]
    story = given(REQUESTED, *lost)
    last, beyond = LOST_ATTEMPTS_ALLOWED + 1, LOST_ATTEMPTS_ALLOWED + 2
    begun = story.when(StartAttempt(ID, last, "w1"))
    begun.then(JobStarted(ID, last, "w1"))

    [end] = begun.and_then().when(StartAttempt(ID, beyond, "w1")).events

    assert isinstance(end, JobFailed)
    assert end.code == "worker_lost"


@pytest.mark.parametrize("sign_of_life", [JobProgress(ID, 20, "fetch"), PAUSE_ASKED, COMMITTING])
def test_attempts_are_not_counted_lost_against_a_job_that_lives_commits_or_is_stopping(
    sign_of_life: JobEvent,
) -> None:
    lost = [JobStarted(ID, n + 1, "w1") for n in range(LOST_ATTEMPTS_ALLOWED + 1)]
    following = LOST_ATTEMPTS_ALLOWED + 2
    given(REQUESTED, *lost, sign_of_life).when(StartAttempt(ID, following, "w1")).then(
        JobStarted(ID, following, "w1")
    )


def test_a_retry_forgives_the_lost_attempts_too() -> None:
    lost = [JobStarted(ID, n + 1, "w1") for n in range(LOST_ATTEMPTS_ALLOWED + 1)]
    failed = given(REQUESTED, *lost).when(StartAttempt(ID, len(lost) + 1, "w1")).and_then()
    assert failed.when(RetryJob(ID, turn=1)).and_then().state.lost == 0


def test_the_commit_begins_once() -> None:
    begun = given(*RUNNING).when(BeginCommit(ID, 1, "m1"))
    begun.then(COMMITTING)
    begun.and_then().when(BeginCommit(ID, 1, "m1")).then_nothing()


def test_the_next_attempt_goes_on_with_the_commit_it_finds() -> None:
    taken_over = given(*COMMITTED, JobStarted(ID, 2, "w2"))
    taken_over.when(BeginCommit(ID, 2, "m1")).then_nothing()
    taken_over.when(BeginCommit(ID, 2, "m2")).then(JobCommitStarted(ID, 2, "m2"))
    taken_over.when(CompleteJob(ID, 2, 4096, 12)).then(JobCompleted(ID, 2, 4096, 12))


@pytest.mark.parametrize(("history", "asked"), [(CANCELLING, "cancel"), (PAUSING, "pause")])
def test_a_job_that_was_asked_to_stop_does_not_begin_its_commit(
    history: tuple[JobEvent, ...], asked: str
) -> None:
    given(*history).when(BeginCommit(ID, 1, "m1")).then_rejected("stopping", stopping=asked)


def test_a_commit_that_fails_for_good_fails_the_job_which_may_then_be_retried() -> None:
    failed = given(*COMMITTED).when(fail(retryable=False)).and_then()
    assert failed.state.status == "failed"
    assert not failed.state.committing
    failed.when(RetryJob(ID, turn=1)).then(JobResumed(ID, retry=True))


def test_an_install_completes_only_once_its_files_are_in_place() -> None:
    given(*RUNNING).when(CompleteJob(ID, 1, 4096, 12)).then_rejected("conflict")
    given(*COMMITTED).when(CompleteJob(ID, 1, 4096, 12)).then(COMPLETED)


@pytest.mark.parametrize("asked", [PAUSE_ASKED, CANCEL_ASKED])
def test_what_was_done_before_it_could_be_stopped_is_done(asked: JobEvent) -> None:
    verify = JobRequested(ID, "org/model", "default", 1, VerifySpec())
    done = given(verify, STARTED, asked).when(CompleteJob(ID, 1, 4096, 12))
    done.then(COMPLETED)
    assert done.and_then().state.stopping == ""


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_job_that_ended_badly_can_be_retried(how: str) -> None:
    retried = given(*OVER[how]).when(RetryJob(ID, turn=1))
    retried.then(JobResumed(ID, retry=True))
    retried.and_then().when(StartAttempt(ID, 2, "w2")).then(JobStarted(ID, 2, "w2"))


@pytest.mark.parametrize("how", ["failed", "cancelled"])
@pytest.mark.parametrize("turn", [0, 2])
def test_a_job_that_ended_is_retried_only_by_who_claimed_its_target_for_that(
    how: str, turn: int
) -> None:
    given(*OVER[how]).when(RetryJob(ID, turn=turn)).then_rejected("unclaimed")


def test_a_verification_claims_nothing_and_is_retried_as_it_is() -> None:
    verify = JobRequested(ID, "org/model", "default", 1, VerifySpec())
    given(verify, STARTED, LAST_ATTEMPT, FAILED).when(RetryJob(ID)).then(JobResumed(ID, retry=True))


def test_a_retry_has_all_its_attempts_again() -> None:
    retried = given(*OVER["failed"], JobResumed(ID, retry=True), JobStarted(ID, 2, "w1"))
    retried.when(fail(2, allowed=2)).then(JobAttemptFailed(ID, 2, "io", "cut", True, LATER))


def test_a_job_that_waits_for_its_next_attempt_can_be_retried_at_once() -> None:
    retried = given(*RETRYING).when(RetryJob(ID))
    retried.then(JobResumed(ID, retry=True))
    assert retried.and_then().state.next_attempt_at is None


def test_retrying_what_is_under_way_changes_nothing() -> None:
    given(REQUESTED).when(RetryJob(ID)).then_nothing()
    given(*RUNNING).when(RetryJob(ID)).then_nothing()
    given(*COMMITTED).when(RetryJob(ID)).then_nothing()


@pytest.mark.parametrize("history", [OVER["completed"], ON_PAUSE, PAUSING, CANCELLING])
def test_what_is_completed_paused_or_being_stopped_is_not_retried(
    history: tuple[JobEvent, ...],
) -> None:
    given(*history).when(RetryJob(ID)).then_rejected("conflict")


def test_the_same_turn_is_retried_once() -> None:
    once = given(*OVER["failed"]).when(RetryJob(ID, turn=1)).and_then()
    again = Given(decider, (*once.history, JobStarted(ID, 2, "w1"), LAST_ATTEMPT, FAILED))
    again.when(RetryJob(ID, turn=1)).then_nothing()
    again.when(RetryJob(ID, turn=2)).then(JobResumed(ID, retry=True))


def test_what_earlier_attempts_left_counts_unless_it_was_thrown_away() -> None:
    kept = (*CANCELLING[:-1], JobCancelRequested(ID, True), JobCancelled(ID, True))
    assert given(*RUNNING).state.clean_after == 0
    assert given(*kept).state.clean_after == 0
    assert given(*OVER["cancelled"]).state.clean_after == 1
    assert given(*OVER["failed"], JobResumed(ID, retry=True)).state.clean_after == 0
    assert given(*OVER["failed"], JobResumed(ID, retry=True, clean=True)).state.clean_after == 1


def test_a_job_is_moved_ahead() -> None:
    given(*RUNNING).when(ChangePriority(ID, 0)).then(JobPriorityChanged(ID, 0))
    given(*RUNNING).when(ChangePriority(ID, 1)).then_nothing()


def test_a_job_that_commits_is_not_reordered() -> None:
    given(*COMMITTED).when(ChangePriority(ID, 0)).then_rejected("conflict")
