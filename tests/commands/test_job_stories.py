"""Whatever is asked of a job, in whatever order: it never comes into an impossible state."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import reduce

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands.job import decider
from schemas.job import (
    BeginCommit,
    CancelJob,
    ChangePriority,
    CompleteJob,
    ConfirmStop,
    DeleteSpec,
    FailAttempt,
    InstallSpec,
    Job,
    JobCancelled,
    JobCommand,
    JobCommitStarted,
    JobCompleted,
    JobEvent,
    JobResumed,
    JobSpec,
    PauseJob,
    Priority,
    ReportProgress,
    RequestJob,
    ResumeJob,
    RetryJob,
    StartAttempt,
    VerifySpec,
)
from schemas.message import Rejected

ID = "01J00000000000000000000001"
LATER = datetime(2026, 11, 1, 12, tzinfo=UTC)
CODES = {"not_found", "conflict", "fenced", "stopping", "unclaimed"}
INSTALL = InstallSpec("org/model", "main", "c0ffee", "k1", 12, 4096)

OF_AN_ATTEMPT = (ReportProgress, ConfirmStop, FailAttempt, BeginCommit, CompleteJob)

Wish = Callable[[int], JobCommand]
"""A command of the attempt with the given number."""

SPECS: st.SearchStrategy[JobSpec] = st.sampled_from([INSTALL, VerifySpec(), DeleteSpec()])
PRIORITIES: st.SearchStrategy[Priority] = st.sampled_from([0, 1, 2])
YES = st.booleans()


def always(command: JobCommand) -> Wish:
    return lambda _: command


def commits(manifest: str) -> Wish:
    return lambda attempt: BeginCommit(ID, attempt, manifest)


def fails(retryable: bool, allowed: int) -> Wish:
    return lambda attempt: FailAttempt(ID, attempt, "io", "cut", retryable, LATER, allowed)


def starts(attempt: int) -> JobCommand:
    return StartAttempt(ID, attempt + 1, "w1")


def reports(attempt: int) -> JobCommand:
    return ReportProgress(ID, attempt, "fetch")


def stops(attempt: int) -> JobCommand:
    return ConfirmStop(ID, attempt)


def completes(attempt: int) -> JobCommand:
    return CompleteJob(ID, attempt, 4096, 12)


JOB = st.just(ID)
ASKED: st.SearchStrategy[JobCommand] = st.one_of(
    st.builds(RequestJob, JOB, st.just("org/model"), st.just("s1"), PRIORITIES, SPECS),
    st.just(PauseJob(ID)),
    st.just(ResumeJob(ID)),
    st.builds(RetryJob, JOB, YES, st.integers(0, 3)),
    st.builds(ChangePriority, JOB, PRIORITIES),
    st.builds(CancelJob, JOB, YES),
)
WORKED: st.SearchStrategy[Wish] = st.one_of(
    st.sampled_from([starts, reports, stops, completes]),
    st.builds(commits, st.sampled_from(["m1", "m2"])),
    st.builds(fails, YES, st.integers(1, 3)),
)
STORIES = st.lists(
    st.tuples(st.one_of(WORKED, ASKED.map(always)), st.sampled_from([0, 0, 0, 0, 1])),
    min_size=20,
    max_size=60,
)
"""Each wish with how many attempts late it comes."""


def check_possible(job: Job) -> None:
    assert (job.status == "absent") == (job.id == "")
    assert not job.stopping or job.status == "running"
    assert not job.committing or job.status in ("pending", "running", "retrying")
    assert not (job.stopping and job.committing)
    assert job.status != "running" or job.attempt > 0
    assert (job.next_attempt_at is not None) == (job.status == "retrying")
    assert 0 <= job.clean_after <= job.attempt
    assert 0 <= job.failures <= job.attempt
    assert 0 <= job.lost <= job.attempt


def check_possible_next(before: Job, event: JobEvent, after: Job) -> None:
    retried = isinstance(event, JobResumed) and event.retry
    assert before.status != "completed"
    assert not before.ended or retried
    assert after.attempt in (before.attempt, before.attempt + 1)
    assert after.retries == before.retries + retried
    match event:
        case JobCompleted():
            assert before.committing or not isinstance(before.spec, InstallSpec)
        case JobCancelled():
            assert before.stopping == "cancel"
            assert not before.committing
        case JobCommitStarted():
            assert not before.stopping
        case _:
            pass


def granted(job: Job, command: JobCommand) -> tuple[JobEvent, ...]:
    try:
        return tuple(decider.decide(job, command))
    except Rejected as refusal:
        if refusal.code not in CODES:
            raise
        return ()


def told(story: list[tuple[Wish, int]]) -> Job:
    """What the job becomes through the story, every step of which is checked."""
    job = decider.initial
    for wish, late in story:
        command = wish(job.attempt - late)
        events = granted(job, command)
        assert len(events) <= 5
        assert not (late and events and isinstance(command, OF_AN_ATTEMPT))
        for event in events:
            before, job = job, decider.evolve(job, event)
            check_possible_next(before, event, job)
        check_possible(job)
    return job


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(STORIES)
def test_no_story_leads_to_an_impossible_state(story: list[tuple[Wish, int]]) -> None:
    told(story)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(STORIES, ASKED)
def test_what_is_asked_twice_in_a_row_happens_once(
    story: list[tuple[Wish, int]], command: JobCommand
) -> None:
    job = told(story)
    after = reduce(decider.evolve, granted(job, command), job)
    assert granted(after, command) == ()
