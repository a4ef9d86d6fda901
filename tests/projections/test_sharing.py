"""Followers of one log that read it together."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest

from projections.sharing import BATCH, KEPT, SharedLog
from schemas.log import Commit
from tests.projections.telling import Told, anything
from tests.support import PATIENCE


async def take(follower: AsyncIterator[Sequence[Commit]], until: int) -> list[int]:
    """The positions that a follower is given, up to and including one."""
    seen: list[int] = []
    async for batch in follower:
        seen += [commit.position for commit in batch]
        if seen[-1] >= until:
            return seen
    return seen


async def test_those_who_begin_together_read_once() -> None:
    told = Told(batch=10)
    anything(told, 500)
    shared = SharedLog(told)
    seen = await asyncio.gather(*(take(shared.follow(0), 500) for _ in range(5)))
    assert seen == [list(range(1, 501))] * 5
    assert told.followed == 1


async def test_everyone_begins_where_they_asked_to() -> None:
    told = Told(batch=10)
    anything(told, 200)
    shared = SharedLog(told)
    seen = await asyncio.gather(*(take(shared.follow(after), 200) for after in (0, 7, 150, 0)))
    assert [positions[0] for positions in seen] == [1, 8, 151, 1]
    assert all(positions == list(range(positions[0], 201)) for positions in seen)


async def test_those_at_the_end_share_what_is_told_next() -> None:
    told = Told()
    anything(told, 20)
    shared = SharedLog(told)
    first, second = shared.follow(0), shared.follow(0)
    await asyncio.gather(take(first, 20), take(second, 20))
    late = shared.follow(20)
    following = asyncio.gather(*(take(f, 25) for f in (first, second, late)))
    anything(told, 5)
    assert await following == [[21, 22, 23, 24, 25]] * 3
    assert told.followed == 1


async def test_who_stands_still_holds_nobody_up_for_long_and_misses_nothing() -> None:
    told = Told(batch=50)  # so many that to be held up by each would take longer than PATIENCE
    anything(told, KEPT)
    shared = SharedLog(told)
    slow, quick = shared.follow(0), shared.follow(0)
    beginning = [commit.position for commit in await anext(slow)]
    async with asyncio.timeout(PATIENCE):
        assert await take(quick, KEPT) == list(range(1, KEPT + 1))
        anything(told, 2 * BATCH)
        end = len(told.commits)
        assert await take(quick, end) == list(range(KEPT + 1, end + 1))
    assert beginning + await take(slow, end) == list(range(1, end + 1))
    assert told.followed == 2


class Left(Told):
    """A log that notices when nobody follows it any more."""

    def __init__(self) -> None:
        super().__init__()
        self.left = asyncio.Event()

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Commit]]:
        try:
            async for batch in super().follow(after):
                yield batch
        finally:
            self.left.set()


async def test_a_reading_ends_with_its_last_follower() -> None:
    told = Left()
    anything(told, 5)
    shared = SharedLog(told)
    first, second = shared.follow(0), shared.follow(0)
    await asyncio.gather(anext(first), anext(second))
    await first.aclose()
    assert not told.left.is_set()
    await second.aclose()
    async with asyncio.timeout(PATIENCE):
        await told.left.wait()


class Broken(Told):
    async def follow(self, after: int) -> AsyncGenerator[Sequence[Commit]]:
        async for batch in super().follow(after):
            yield batch
            raise OSError("gone")


async def test_what_ends_a_reading_is_told_to_everyone_and_a_new_one_can_begin() -> None:
    told = Broken()
    anything(told, 5)
    shared = SharedLog(told)
    outcomes = await asyncio.gather(
        *(take(shared.follow(0), 99) for _ in range(3)), return_exceptions=True
    )
    assert [str(outcome) for outcome in outcomes] == ["gone"] * 3
    again = shared.follow(0)
    with pytest.raises(OSError, match="gone"):
        await take(again, 99)
    assert told.followed == 2
    assert await shared.end() == 5
