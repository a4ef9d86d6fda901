"""Ending tasks."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def end(task: "asyncio.Future[T]") -> None:
    """Cancel until it has ended: in Python 3.11 `wait_for`, with which the NATS client waits, may
    swallow a cancellation that comes together with its answer."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.5)
