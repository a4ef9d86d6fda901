"""Deciding about one job. Pure: no clock, no network, no logging."""

from collections.abc import Sequence
from typing import assert_never

from msgspec.structs import replace

from commands.decider import Decider
from schemas.job import (
    AGGREGATE,
    BeginCommit,
    CancelJob,
    ChangePriority,
    CompleteJob,
    ConfirmStop,
    FailAttempt,
    InstallSpec,
    Job,
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
    Status,
    VerifySpec,
)
from schemas.message import Rejected

LOST_ATTEMPTS_ALLOWED = 20
"""Attempts in a row that began and were never heard of again: then the job itself is the cause."""


def decide(job: Job, command: JobCommand) -> Sequence[JobEvent]:
    if isinstance(command, RequestJob):
        return _request(job, command)
    if job.status == "absent":
        raise Rejected("not_found", f"no job {command.job}")
    match command:
        case StartAttempt():
            return _start(job, command)
        case PauseJob():
            return _pause(job)
        case ResumeJob():
            return _resume(job)
        case RetryJob():
            return _retry(job, command)
        case ChangePriority():
            return _prioritise(job, command)
        case CancelJob():
            return _cancel(job, command)
        case ReportProgress():
            _own(job, command.attempt)
            return [_progress(command)]
        case ConfirmStop():
            _own(job, command.attempt)
            return _stopped(job)
        case FailAttempt():
            _own(job, command.attempt)
            return _fail(job, command)
        case BeginCommit():
            _own(job, command.attempt)
            return _commit(job, command)
        case CompleteJob():
            _own(job, command.attempt)
            return _complete(job, command)
        case _:
            assert_never(command)


def _request(job: Job, command: RequestJob) -> Sequence[JobEvent]:
    if job.status != "absent":
        return []
    return [
        JobRequested(command.job, command.target, command.store, command.priority, command.spec)
    ]


def _start(job: Job, command: StartAttempt) -> Sequence[JobEvent]:
    if job.ended or job.status == "paused":
        raise Rejected("conflict", f"job {job.id} is {job.status}")
    if command.attempt != job.attempt + 1:
        text = f"attempt {command.attempt} of job {job.id} is not the next one"
        raise Rejected("fenced", text)
    lost = job.lost + (job.status == "running")
    if lost > LOST_ATTEMPTS_ALLOWED and not job.committing and not job.stopping:
        reason = f"{lost} attempts in a row were lost without a word"
        return [JobFailed(job.id, "worker_lost", reason, "look at the worker's own log")]
    return [JobStarted(job.id, command.attempt, command.worker)]


def _own(job: Job, attempt: int) -> None:
    """Only the newest attempt of a running job may speak for it."""
    if job.status != "running" or attempt != job.attempt:
        raise Rejected("fenced", f"attempt {attempt} of job {job.id} is over")


def _progress(command: ReportProgress) -> JobEvent:
    return JobProgress(
        command.job,
        command.attempt,
        command.phase,
        command.bytes_done,
        command.bytes_total,
        command.files_done,
        command.files_total,
        command.finished,
    )


def _pause(job: Job) -> Sequence[JobEvent]:
    _refuse_ended(job, "pause")
    if job.status == "paused" or job.stopping == "pause":
        return []
    _refuse_cancelling(job)
    if job.status == "running":
        return [JobPauseRequested(job.id)]
    return [JobPauseRequested(job.id), JobPaused(job.id)]


def _resume(job: Job) -> Sequence[JobEvent]:
    _refuse_ended(job, "resume")
    if job.status == "paused" or job.stopping == "pause":
        return [JobResumed(job.id)]
    _refuse_cancelling(job)
    return []


def _retry(job: Job, command: RetryJob) -> Sequence[JobEvent]:
    if 0 < command.turn <= job.retries:
        return []
    if job.status == "completed":
        text = f"job {job.id} is completed; there is nothing to retry"
        raise Rejected("conflict", text, remedy=_look(job))
    if job.ended and command.turn != job.retries + 1 and not isinstance(job.spec, VerifySpec):
        raise Rejected("unclaimed", f"job {job.id} does not hold its target any more")
    if job.ended or job.status == "retrying":
        return [JobResumed(job.id, retry=True, clean=command.clean)]
    if job.status == "paused" or job.stopping == "pause":
        text = f"job {job.id} is paused; resume it"
        raise Rejected("conflict", text, remedy=f"mllm jobs resume {job.id}")
    _refuse_cancelling(job)
    return []


def _prioritise(job: Job, command: ChangePriority) -> Sequence[JobEvent]:
    _refuse_ended(job, "reorder")
    if job.priority == command.priority:
        return []
    return [JobPriorityChanged(job.id, command.priority)]


def _cancel(job: Job, command: CancelJob) -> Sequence[JobEvent]:
    if job.status == "cancelled" or job.stopping == "cancel":
        return []
    _refuse_ended(job, "cancel")
    asked = JobCancelRequested(job.id, command.keep_partial)
    if job.status == "running":
        return [asked]
    return [asked, JobCancelled(job.id, command.keep_partial)]


def _refuse_ended(job: Job, verb: str) -> None:
    if job.ended:
        text = f"job {job.id} is {job.status}; it is too late to {verb} it"
        raise Rejected("conflict", text, remedy=_look(job))
    if job.committing:
        text = f"job {job.id} is putting its files in place; it is too late to {verb} it"
        raise Rejected("conflict", text, remedy=f"mllm jobs wait {job.id}")


def _look(job: Job) -> str:
    return f"see what became of it: mllm jobs describe {job.id}"


def _refuse_cancelling(job: Job) -> None:
    if job.stopping == "cancel":
        raise Rejected("conflict", f"job {job.id} is being cancelled")


def _stopped(job: Job) -> Sequence[JobEvent]:
    match job.stopping:
        case "pause":
            return [JobPaused(job.id)]
        case "cancel":
            return [JobCancelled(job.id, job.keep_partial)]
        case "":
            raise Rejected("conflict", f"nobody asked job {job.id} to stop")


def _fail(job: Job, command: FailAttempt) -> Sequence[JobEvent]:
    again = command.retryable and job.failures + 1 < command.attempts_allowed
    failed = JobAttemptFailed(
        job.id,
        command.attempt,
        command.code,
        command.reason,
        command.retryable,
        command.next_attempt_at if again and not job.stopping else None,
    )
    if job.stopping:
        return [failed, *_stopped(job)]
    if again:
        return [failed]
    return [failed, JobFailed(job.id, command.code, command.reason, command.remedy)]


def _commit(job: Job, command: BeginCommit) -> Sequence[JobEvent]:
    if job.stopping:
        text = f"job {job.id} was asked to {job.stopping}"
        raise Rejected("stopping", text, stopping=job.stopping)
    if job.committing and job.manifest == command.manifest:
        return []
    return [JobCommitStarted(job.id, command.attempt, command.manifest)]


def _complete(job: Job, command: CompleteJob) -> Sequence[JobEvent]:
    """What is done is done: a pause or a cancel that was asked meanwhile came too late."""
    if isinstance(job.spec, InstallSpec) and not job.committing:
        raise Rejected("conflict", f"job {job.id} has not put its files in place")
    return [JobCompleted(job.id, command.attempt, command.bytes, command.files)]


def evolve(job: Job, event: JobEvent) -> Job:
    match event:
        case JobRequested(job=id, target=target, store=store, priority=priority, spec=spec):
            return Job("pending", id, target, store, priority, spec)
        case JobStarted(attempt=attempt, worker=worker):
            lost = job.lost + (job.status == "running")
            started = replace(job, status="running", next_attempt_at=None)
            return replace(started, attempt=attempt, worker=worker, lost=lost)
        case JobProgress():
            return replace(job, lost=0)
        case JobPauseRequested():
            return replace(job, stopping="pause")
        case JobPaused():
            return _at_rest(job, "paused")
        case JobResumed():
            return _resumed(job, event)
        case JobPriorityChanged(priority=priority):
            return replace(job, priority=priority)
        case JobCancelRequested(keep_partial=keep):
            return replace(job, stopping="cancel", keep_partial=keep)
        case JobCancelled(keep_partial=keep):
            clean_after = job.clean_after if keep else job.attempt
            return replace(_at_rest(job, "cancelled"), clean_after=clean_after)
        case JobAttemptFailed(next_attempt_at=at):
            return replace(
                job, status="retrying", failures=job.failures + 1, lost=0, next_attempt_at=at
            )
        case JobCommitStarted(manifest=manifest):
            return replace(job, committing=True, manifest=manifest)
        case JobCompleted():
            return replace(_at_rest(job, "completed"), committing=False)
        case JobFailed():
            return replace(_at_rest(job, "failed"), committing=False)
        case _:
            assert_never(event)


def _resumed(job: Job, event: JobResumed) -> Job:
    if job.status == "running":  # the pause had not been carried out yet
        return replace(job, stopping="")
    return replace(
        _at_rest(job, "pending"),
        keep_partial=False,
        retries=job.retries + event.retry,
        failures=0 if event.retry else job.failures,
        clean_after=job.attempt if event.clean else job.clean_after,
    )


def _at_rest(job: Job, status: Status) -> Job:
    """Nobody works on it now, and nothing is left to wait for."""
    return replace(job, status=status, stopping="", lost=0, next_attempt_at=None)


decider = Decider(AGGREGATE, Job(), decide, evolve, lambda command: command.job)
