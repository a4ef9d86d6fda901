"""What is seen of a slot, recorded."""

from collections.abc import Sequence

from commands.dispatch import Dispatcher
from commands.memory import MemoryLog
from schemas.log import Commit, Stream
from schemas.status import AGGREGATE, RecordStatus, SlotStatus, StatusUpdated
from tests.contract.logs import context

READY, LOADING = SlotStatus("ready", "a"), SlotStatus("loading", "a")


class LongLog(MemoryLog):
    """One whose histories are too long to be read."""

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        raise AssertionError(f"all of {stream} is read")

    async def last(self, stream: Stream, *, fresh: bool = False) -> Commit | None:
        history = await super().load(stream, fresh=fresh)
        return history[-1] if history else None


async def test_a_status_is_recorded_when_it_is_news_however_much_was_before() -> None:
    log = LongLog()
    dispatch = Dispatcher(log)

    for number, status in enumerate((LOADING, LOADING, READY, READY, LOADING)):
        await dispatch(RecordStatus("s", status), context(f"c{number}"))

    stream = Stream("default", AGGREGATE, "s")
    history = await MemoryLog.load(log, stream)
    said = [event for commit in history for event in commit.events]
    assert [event.status for event in said if isinstance(event, StatusUpdated)] == [
        LOADING,
        READY,
        LOADING,
    ]
    assert [commit.command for commit in history] == ["c0", "c2", "c4"]


async def test_a_status_that_is_recorded_again_by_the_same_command_is_recorded_once() -> None:
    log = LongLog()
    dispatch = Dispatcher(log)
    first = await dispatch(RecordStatus("s", READY), context("c1"))

    again = await dispatch(RecordStatus("s", READY), context("c1"))

    assert again.commit == first.commit
    assert await log.end() == 1
