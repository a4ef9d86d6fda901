"""Tasks that miss a cancellation."""

import asyncio
from contextlib import suppress

from processors.ending import end


async def test_a_task_that_misses_a_cancellation_is_ended_all_the_same() -> None:
    async def misses_one() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task, other = asyncio.create_task(misses_one()), asyncio.create_task(misses_one())
    await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await end(task, other)

    assert task.cancelled()
    assert other.cancelled()
