"""Ending tasks."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def end(task: "asyncio.Future[T]") -> None:
    """Cancel until it has ended: in Python 3.11 `wait_for`, with which the NATS client waits, may
    swallow a cancellation that comes together with its answer.

    It ends also when whoever waits for that is cancelled meanwhile; that is passed on afterwards.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=0.5)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
