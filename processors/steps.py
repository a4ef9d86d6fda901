"""The steps that all kinds of jobs are made of: how they end, and how they speak for themselves."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from processors.attempt import Attempt, Counts, Failed, Halted, Result
from processors.ending import outlast
from processors.fetch.errors import Fenced, FetchError, Stopped
from processors.fetch.progress import Progress
from schemas.job import BeginCommit
from schemas.message import Command, Rejected

P = ParamSpec("P")
T = TypeVar("T")

RETRYABLE = frozenset({"hub_unreachable", "secrets_unavailable"})

logger = logging.getLogger(__name__)


async def concluded(attempt: Attempt, work: Coroutine[Any, Any, Result]) -> Result:
    """What an attempt's work came to. Raises `Fenced` and nothing else that work may raise."""
    try:
        return await work
    except Fenced:
        raise
    except Stopped:
        if attempt.stopping in (None, "fenced"):
            raise Fenced from None
        return Halted(attempt.stopping)
    except FetchError as error:
        return failed(error, error.retryable, error.retry_after)
    except Rejected as refusal:
        return failed(refusal, refusal.code in RETRYABLE, None)
    except OSError as error:
        return Failed("disk_failed", f"the disk fails: {error.strerror or error}", True)
    except Exception as error:  # a defect that one job meets must not end the others under way
        logger.exception("job %s", attempt.job.id)
        reason = f"an unexpected {type(error).__name__}; the worker's log says more"
        return Failed("internal", reason, True)


def failed(refusal: Rejected, retryable: bool, retry_after: float | None) -> Failed:
    remedy = str(refusal.details.get("remedy", ""))
    return Failed(refusal.code, str(refusal), retryable, remedy, retry_after)


def heed(attempt: Attempt) -> None:
    """Raises `Stopped` when the attempt was asked to stop."""
    if attempt.stopping is not None:
        raise Stopped(attempt.stopping)


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking disk work beside the event loop, and wait for its end whatever comes: nothing
    may touch the disk after the attempt has said how it ended."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    finally:
        await outlast(work)


async def begin_commit(attempt: Attempt, manifest: str) -> None:
    """Pass the point of no return. Raises `Stopped` when a stop was asked for first, `Fenced`."""
    try:
        await attempt.say(BeginCommit(attempt.job.id, attempt.job.attempt, manifest))
    except Rejected as refusal:
        if refusal.code == "stopping":
            attempt.stop("pause" if refusal.details["stopping"] == "pause" else "cancel")
            raise Stopped("asked to stop before the commit") from refusal
        raise Fenced from refusal


async def tell(attempt: Attempt, command: Command) -> None:
    """Record something about the weights. Raises `Fenced` when this job lost its claim on them."""
    try:
        await attempt.say(command)
    except Rejected as refusal:
        if refusal.code == "fenced":
            raise Fenced from refusal
        raise


def counts(progress: Progress) -> Counts:
    """How far a fetch or a verification is, as the live state shows it."""
    now = progress.snapshot()
    return Counts(
        now.done, now.total, now.files_done, now.files_total, now.rate, now.active, now.note
    )


def unfenced() -> None:
    """The fence of what no other attempt could be doing."""
