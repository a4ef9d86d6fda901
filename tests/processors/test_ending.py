"""Tasks that miss a cancellation, and work that can not be cancelled."""

import asyncio
import threading
from contextlib import suppress

import pytest

from processors.ending import end
from processors.steps import in_thread
from tests.support import PATIENCE, eventually


async def test_a_task_that_misses_a_cancellation_is_ended_all_the_same() -> None:
    async def misses_one() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task, other = asyncio.create_task(misses_one()), asyncio.create_task(misses_one())
    await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE):
        await end(task, other)

    assert task.cancelled()
    assert other.cancelled()


async def test_what_is_being_ended_ends_also_when_whoever_ends_it_is_cancelled() -> None:
    async def misses_two() -> None:
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(misses_two())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end(task))
    await asyncio.sleep(0)

    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending

    ended = task.cancelled()
    await end(task)
    assert ended


async def test_disk_work_is_waited_for_however_often_that_is_cancelled() -> None:
    begun, goes_on, over = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait(PATIENCE)
        over.set()

    task = asyncio.create_task(in_thread(work))
    await eventually(lambda: asyncio.to_thread(begun.wait, PATIENCE))
    for _ in range(3):
        task.cancel()
        await asyncio.wait({task}, timeout=0.05)
    assert not task.done()
    goes_on.set()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert over.is_set()
