"""Slots are said a few times a second at most, and never too few."""

import asyncio
import time

import pytest

from processors.kserve.waking import Waking
from tests.support import PATIENCE

ONE, TWO = ("default", "one"), ("default", "two")
A_LONG_TIME = 1e9  # seconds: no machine has been up for so long


async def test_the_first_ring_is_heard_at_once() -> None:
    waking = Waking(A_LONG_TIME)
    waking.ring(ONE)

    async with asyncio.timeout(PATIENCE):
        assert await waking.next() == ONE


async def test_many_rings_are_heard_once_and_once_more_after_the_last() -> None:
    waking = Waking(0.1)
    began = time.monotonic()
    for _ in range(1000):
        waking.ring(ONE)
    await waking.next()
    for _ in range(1000):
        waking.ring(ONE)
    await waking.next()

    assert time.monotonic() - began >= 0.1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waking.next(), 0.3)


async def test_a_slot_that_must_wait_keeps_no_other_waiting() -> None:
    waking = Waking(A_LONG_TIME)
    waking.ring(ONE)
    await waking.next()
    waking.ring(ONE)
    waking.ring(TWO)

    async with asyncio.timeout(PATIENCE):
        assert await waking.next() == TWO


async def test_a_ring_is_heard_by_who_waits_already() -> None:
    waking = Waking(0.01)
    waiting = asyncio.create_task(waking.next())
    await asyncio.sleep(0)
    waking.ring(TWO)

    async with asyncio.timeout(PATIENCE):
        assert await waiting == TWO
