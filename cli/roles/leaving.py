"""Leaving when told: SIGTERM and Ctrl-C ask once, politely, and then the role ends by itself."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from processors.ending import end


def told() -> asyncio.Event:
    """An event that is set when the process is asked to stop."""
    leave = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, leave.set)
    return leave


async def nothing() -> None:
    """What most roles have to hand over."""


async def until(
    leave: asyncio.Event,
    *work: Coroutine[Any, Any, None],
    hand_over: Callable[[], Awaitable[None]] = nothing,
) -> None:
    """Run `work` until the process is asked to leave; then `hand_over`, and only then stop it.

    Work that fails ends it all: whoever started the role starts it again.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in work]
        await leave.wait()
        await hand_over()
        await end(*tasks)
