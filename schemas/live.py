"""What is true only now: live byte counts, what stores have room for, where slots answer,
and job log lines.

State, not history: none of it is in the event log, and losing it loses nothing.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from schemas.job import Phase
from schemas.message import Value

Level: TypeAlias = Literal["info", "warning", "error"]


class ActiveFile(Value):
    path: str
    done: int
    size: int


class Tick(Value):
    """One attempt's heartbeat and byte counts (`job.tick`). `rate` is bytes a second.

    `note` says what stands in the way, as in `stalled 12s, retry 1/6 in 4s`. `released` is the
    last word of an attempt that ended or was handed over: nobody holds the job any more.
    """

    job: str
    namespace: str
    attempt: int
    worker: str
    at: datetime
    phase: Phase = "resolve"
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    rate: float = 0.0
    active: tuple[ActiveFile, ...] = ()
    note: str = ""
    released: bool = False


class StoreBeat(Value):
    """What one worker sees of the store it mounts. Bytes."""

    store: str
    worker: str
    at: datetime
    free: int
    total: int
    reserve: int


class Endpoint(Value):
    """Where the model in a slot answers; an empty `url` is nowhere. `activation` names it."""

    namespace: str
    slot: str
    activation: str
    model: str
    url: str
    at: datetime


class LogLine(Value):
    """A line of a job's log. `cursor` is its place in all job logs."""

    job: str
    at: datetime
    level: Level
    text: str
    cursor: int = 0


class LiveState(Protocol):
    def ticks(self) -> AsyncIterator[Tick]:
        """The newest tick of every job, then every new one, for ever."""
        ...

    async def tick(self, namespace: str, job: str) -> Tick | None: ...

    async def stores(self) -> Sequence[StoreBeat]: ...

    async def endpoint(self, namespace: str, slot: str) -> Endpoint | None:
        """Raises `LogUnavailable`."""
        ...


class JobLogs(Protocol):
    async def read(
        self, namespace: str, job: str, *, after: int = 0, limit: int = 2000
    ) -> Sequence[LogLine]:
        """The lines past the cursor `after`, oldest first."""
        ...

    def follow(self, namespace: str, job: str, *, after: int = 0) -> AsyncIterator[LogLine]:
        """The same, and then whatever comes, for ever."""
        ...

    def lines(self) -> AsyncIterator[tuple[str, LogLine]]:
        """Every new line of every job with its namespace, for ever. Raises `LogUnavailable`."""
        ...
