"""Ending tasks, and waiting for what can not be ended.

One cancellation is not enough: in Python 3.11 `asyncio.wait_for`, with which nats-py waits, may
swallow one that comes together with the answer that it waited for.
"""

import asyncio
from contextlib import suppress
from typing import Any


async def end(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel until they have ended, also when whoever waits for that is cancelled meanwhile; that
    is passed on afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=0.5)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def is_ending() -> bool:
    """Whether this very task was cancelled, even if a wait has swallowed it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def outlast(task: "asyncio.Future[Any]") -> None:
    """Wait until it has ended by itself, however often the waiting is cancelled meanwhile; whoever
    calls it passes the cancellation on. What the task raises is nobody's any more."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
