"""Jobs as the API shows them."""

from datetime import datetime
from typing import Literal, TypeAlias

from schemas.job import Phase, Priority
from schemas.message import Value

JobStatus: TypeAlias = Literal[
    "pending", "running", "paused", "retrying", "completed", "failed", "cancelled"
]
JobType: TypeAlias = Literal["install", "verify", "delete"]


class JobRow(Value):
    """A job as of `position`. Bytes are bytes; `model` is the Hub's name of what it brings."""

    namespace: str
    id: str
    type: JobType
    status: JobStatus
    target: str
    store: str
    priority: Priority
    requested_at: datetime
    requested_by: str
    updated_at: datetime
    position: int
    correlation: str
    model: str = ""
    revision: str = ""
    commit: str = ""
    attempt: int = 0
    failures: int = 0
    worker: str = ""
    stopping: str = ""
    phase: Phase | Literal[""] = ""
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    code: str = ""
    reason: str = ""
    remedy: str = ""
    started_at: datetime | None = None
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None


class JobFileRow(Value):
    """A file that a job has finished."""

    namespace: str
    job: str
    path: str
    size: int
    algorithm: str
    digest: str
    finished_at: datetime


class JobAccepted(Value):
    """`job` is the whole job as of `sequence`."""

    job: JobRow
    job_url: str
    sequence: int


class InstallAccepted(Value):
    """`storage_uri` is where a server of models finds the weights; `inference_model_path` the
    same as a path below the store."""

    job: JobRow
    job_url: str
    target: str
    storage_uri: str
    inference_model_path: str
    sequence: int


class CancelBody(Value, forbid_unknown_fields=True):
    keep_partial: bool = False


class RetryBody(Value, forbid_unknown_fields=True):
    clean: bool = False


class PriorityBody(Value, forbid_unknown_fields=True):
    priority: Priority
