"""Live state and job logs, on a real NATS."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import nats
import pytest
from nats.js.api import ConsumerInfo

from processors import job_logs
from processors.job_logs import LINES, Logs, LogStreamNames
from schemas.live import LogLine, StoreBeat, Tick
from tests.processors.rig import Rig, rig
from tests.proxy import proxy
from tests.support import PATIENCE, eventually


@pytest.fixture
async def here(nats_url: str, stream_prefix: str) -> AsyncIterator[Rig]:
    async with rig(nats_url, stream_prefix) as made:
        yield made


def tick(done: int, namespace: str = "default") -> Tick:
    return Tick("J1", namespace, 1, "w", datetime.now(UTC), bytes_done=done)


async def test_only_the_newest_tick_of_a_job_is_kept(here: Rig) -> None:
    await here.live.say(tick(1))
    await here.live.say(tick(2))
    await here.live.say(tick(3, "other"))

    found = await here.live.tick("default", "J1")

    assert found is not None
    assert found.bytes_done == 2
    assert await here.live.tick("default", "J2") is None


async def test_every_store_says_what_room_it_has(here: Rig) -> None:
    for store, free in (("fast", 1), ("slow", 2), ("fast", 3)):
        await here.live.say_store(StoreBeat(store, "w", datetime.now(UTC), free, 10, 1))

    assert {beat.store: beat.free for beat in await here.live.stores()} == {"fast": 3, "slow": 2}


async def test_ticks_are_heard_as_they_come(here: Rig) -> None:
    heard: asyncio.Queue[Tick] = asyncio.Queue()

    async def listen() -> None:
        async for one in here.live.ticks():
            await heard.put(one)

    here.run(listen())
    while heard.empty():
        await here.live.say(tick(7))

    assert (await heard.get()).bytes_done == 7


async def test_a_jobs_log_is_read_in_order_and_from_a_cursor(here: Rig) -> None:
    for text in ("one", "two", "three"):
        await here.logs.write("default", "J1", text)
    await here.logs.write("default", "J2", "other")

    lines = await read(here, 3)

    assert [line.text for line in lines] == ["one", "two", "three"]
    after = await here.logs.read("default", "J1", after=lines[0].cursor)
    assert [line.text for line in after] == ["two", "three"]


async def test_a_followed_log_yields_what_was_and_what_comes(here: Rig) -> None:
    await here.logs.write("default", "J1", "one")
    heard: list[str] = []

    async def listen() -> None:
        async for line in here.logs.follow("default", "J1"):
            heard.append(line.text)
            if len(heard) == 1:
                await here.logs.write("default", "J1", "two")
            if len(heard) == 2:
                return

    await asyncio.wait_for(listen(), PATIENCE)

    assert heard == ["one", "two"]


async def test_lines_that_got_lost_on_the_way_are_asked_for_again(
    here: Rig, nats_url: str, stream_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_logs, "SILENCE", 0.5)
    monkeypatch.setattr(job_logs, "PATIENCE", PATIENCE)
    for text in ("one", "two", "three"):
        await here.logs.write("default", "J1", text)
    await read(here, 3)
    before = {one.name for one in await consumers(here, stream_prefix)}

    async def on_their_way() -> bool:
        new = [one for one in await consumers(here, stream_prefix) if one.name not in before]
        return any(one.delivered and one.delivered.consumer_seq for one in new)

    async with (
        proxy(nats_url) as between,
        await nats.connect(between.url, reconnect_time_wait=0.1, connect_timeout=30) as far,
    ):
        reading = asyncio.create_task(
            Logs(far, LogStreamNames(stream_prefix)).read("default", "J1")
        )
        between.delay = 0.3
        await eventually(on_their_way)
        between.delay = 0
        between.cut()
        lines = await reading

    assert [line.text for line in lines] == ["one", "two", "three"]


async def consumers(here: Rig, prefix: str) -> Sequence[ConsumerInfo]:
    return await here.nats.jetstream().consumers_info(LogStreamNames(prefix).stream)


async def test_a_log_without_lines_is_empty_at_once(here: Rig) -> None:
    assert list(await here.logs.read("default", "J9")) == []


async def test_a_very_long_log_keeps_its_newest_lines(here: Rig) -> None:
    for number in range(LINES + 5):
        await here.logs.write("default", "J1", str(number))

    lines = await read(here, LINES)

    assert lines[-1].text == str(LINES + 4)
    assert lines[0].text == "5"


async def read(here: Rig, count: int) -> list[LogLine]:
    """The log once it has that many lines: they are written without waiting for an answer."""
    async with asyncio.timeout(PATIENCE):
        while True:
            lines = list(await here.logs.read("default", "J1"))
            if len(lines) == count and (count < LINES or lines[0].text == "5"):
                return lines
