"""What may be asked of a job, and what may become true of it.

Types and field names below are the stored format: add, never rename or repurpose.
"""

from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from schemas.disk import Disk
from schemas.message import Command, Event, Value
from schemas.names import Glob, JobId, Label, MaybeSecretName, Repo, Revision, Store, Target

Phase: TypeAlias = Literal["resolve", "plan", "fetch", "verify", "commit", "remove"]
Priority: TypeAlias = Literal[0, 1, 2]  # 0 goes first

AGGREGATE = "job"


class InstallSpec(Value, tag="install", tag_field="kind"):
    """Weights to bring from the Hub: everything needed to list the same files again.

    `files` and `bytes` are the totals of the plan; `key` is the sha256 of what will be there.
    """

    repo: Repo
    revision: Revision
    commit: str
    key: str
    files: int
    bytes: int
    include: tuple[Glob, ...] = ()
    exclude: tuple[Glob, ...] = ()
    overwrite: bool = False
    token_secret: MaybeSecretName = ""
    license: str = ""


class VerifySpec(Value, tag="verify", tag_field="kind"):
    """Hash every file of installed weights again and compare with their manifest."""


class DeleteSpec(Value, tag="delete", tag_field="kind"):
    """Take installed weights off the disk."""


JobSpec: TypeAlias = InstallSpec | VerifySpec | DeleteSpec


class FinishedFile(Value):
    """A file whose bytes are all there and match `algorithm`:`digest`."""

    path: str
    size: int
    algorithm: str
    digest: str


class Order(Value):
    """A job to be made, if the target's owner allows it. `id` is the new job's, a ULID. `disk` is
    what an install would leave free."""

    id: JobId
    target: Target
    store: Store
    priority: Priority
    spec: JobSpec
    disk: Disk | None = None


class RequestJob(Command):
    job: JobId
    target: Target
    store: Store
    priority: Priority
    spec: JobSpec


class StartAttempt(Command):
    """Asks for the fencing token: granting it retires every earlier attempt. Of all who ask to be
    attempt number `attempt`, one is granted it."""

    job: JobId
    attempt: int
    worker: Label


class ReportProgress(Command):
    job: JobId
    attempt: int
    phase: Phase
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    finished: tuple[FinishedFile, ...] = ()


class PauseJob(Command):
    job: JobId


class ResumeJob(Command):
    job: JobId


class RetryJob(Command):
    """`clean`: begin with nothing on the disk rather than go on from what earlier attempts left.

    A job that has ended holds its target no more: whoever claimed it again says so with `turn`,
    the number of this retry. It is granted once. 0 is for a job that has not ended.
    """

    job: JobId
    clean: bool = False
    turn: int = 0


class ChangePriority(Command):
    job: JobId
    priority: Priority


class CancelJob(Command):
    job: JobId
    keep_partial: bool = False


class ConfirmStop(Command):
    """The attempt's bytes have stopped, as a pause or a cancel asked."""

    job: JobId
    attempt: int


class FailAttempt(Command):
    """`next_attempt_at` is when to try again, should the job have attempts left."""

    job: JobId
    attempt: int
    code: str
    reason: str
    retryable: bool
    next_attempt_at: datetime
    attempts_allowed: int
    remedy: str = ""


class BeginCommit(Command):
    """Asks to pass the point of no return: from here the job is finished, never cancelled."""

    job: JobId
    attempt: int
    manifest: str


class CompleteJob(Command):
    job: JobId
    attempt: int
    bytes: int
    files: int


JobCommand: TypeAlias = (
    RequestJob
    | StartAttempt
    | ReportProgress
    | PauseJob
    | ResumeJob
    | RetryJob
    | ChangePriority
    | CancelJob
    | ConfirmStop
    | FailAttempt
    | BeginCommit
    | CompleteJob
)


class JobRequested(Event, tag="job.requested"):
    job: str
    target: str
    store: str
    priority: Priority
    spec: JobSpec


class JobStarted(Event, tag="job.started"):
    job: str
    attempt: int
    worker: str


class JobProgress(Event, tag="job.progress"):
    job: str
    attempt: int
    phase: Phase
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    finished: tuple[FinishedFile, ...] = ()


class JobPauseRequested(Event, tag="job.pause.requested"):
    job: str


class JobPaused(Event, tag="job.paused"):
    job: str


class JobResumed(Event, tag="job.resumed"):
    """Goes on: after a pause, or (`retry`) after an end; `clean` forgets what is on the disk."""

    job: str
    retry: bool = False
    clean: bool = False


class JobPriorityChanged(Event, tag="job.priority.changed"):
    job: str
    priority: Priority


class JobCancelRequested(Event, tag="job.cancel.requested"):
    job: str
    keep_partial: bool = False


class JobCancelled(Event, tag="job.cancelled"):
    job: str
    keep_partial: bool = False


class JobAttemptFailed(Event, tag="job.attempt.failed"):
    """`next_attempt_at` is None when there will be no other."""

    job: str
    attempt: int
    code: str
    reason: str
    retryable: bool
    next_attempt_at: datetime | None = None


class JobCommitStarted(Event, tag="job.commit.started"):
    """The point of no return. `manifest` is the sha256 of what the target is about to hold."""

    job: str
    attempt: int
    manifest: str


class JobCompleted(Event, tag="job.completed"):
    job: str
    attempt: int
    bytes: int
    files: int


class JobFailed(Event, tag="job.failed"):
    job: str
    code: str
    reason: str
    remedy: str = ""


JobEvent: TypeAlias = (
    JobRequested
    | JobStarted
    | JobProgress
    | JobPauseRequested
    | JobPaused
    | JobResumed
    | JobPriorityChanged
    | JobCancelRequested
    | JobCancelled
    | JobAttemptFailed
    | JobCommitStarted
    | JobCompleted
    | JobFailed
)


Status: TypeAlias = Literal[
    "absent", "pending", "running", "paused", "retrying", "completed", "failed", "cancelled"
]
ENDED = ("completed", "failed", "cancelled")


class Job(Value):
    """What a job has become. `attempt` is the fencing token: only the newest may speak for it;
    `clean_after` is the last attempt whose bytes on the disk do not count any more; `lost` counts
    attempts in a row that began and were never heard of again."""

    status: Status = "absent"
    id: str = ""
    target: str = ""
    store: str = ""
    priority: Priority = 1
    spec: JobSpec = VerifySpec()
    attempt: int = 0
    worker: str = ""
    failures: int = 0
    lost: int = 0
    stopping: Literal["", "pause", "cancel"] = ""
    keep_partial: bool = False
    clean_after: int = 0
    committing: bool = False
    manifest: str = ""
    next_attempt_at: datetime | None = None
    retries: int = 0

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def kind(self) -> str:
        """What it does: install, verify or delete."""
        return str(self.spec.__struct_config__.tag)


class Seen(Value):
    """A job as of its newest commit, `position`. `started_at` is its newest attempt's; its trace
    goes on from the `traceparent` of the request."""

    job: Job
    position: int
    started_at: datetime | None
    correlation: str
    traceparent: str = ""


class Look(Protocol):
    async def __call__(self, namespace: str, job: str) -> Seen:
        """What a job is now; `absent` if it never was. Raises `LogUnavailable`."""
        ...
