"""Followers of the log on NATS: through everything that can be survived, and gone when stopped."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from commands.following import CREDIT, SILENCE
from commands.jetstream import JetStreamLog, LogNames
from schemas.job import JobProgress
from schemas.log import EventLog, Head, LogUnavailable
from tests.contract import logs
from tests.contract.logs import STARTED, context, following, progress, read, stream
from tests.contract.writers import insist
from tests.proxy import proxy
from tests.servers import Server
from tests.support import eventually


async def append_many(log: EventLog, first: int, count: int, size: int = 0) -> None:
    """Commits of one to five events each, every one to an aggregate of its own."""
    async with asyncio.TaskGroup() as tasks:
        room = asyncio.Semaphore(64)

        async def append(number: int) -> None:
            events = progress(number % 5 + 1)
            if size:
                events = [JobProgress("x" * size, 1, "fetch")]
            async with room:
                await log.append(stream(f"a{number}"), Head(), events, context(f"c{number}"))

        for number in range(first, first + count):
            tasks.create_task(append(number))


class Listener:
    """A follower in the background that remembers where it has been."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.positions: list[int] = []

    async def listen(self) -> None:
        async for batch in following(self._log, 0):
            self.positions += [commit.position for commit in batch]

    async def has_heard(self, end: int) -> None:
        async def heard() -> bool:
            return bool(self.positions) and self.positions[-1] >= end

        await eventually(heard, within=30)
        assert self.positions == list(range(1, end + 1))


@asynccontextmanager
async def listening(log: EventLog) -> AsyncGenerator[Listener]:
    listener = Listener(log)
    task = asyncio.create_task(listener.listen())
    yield listener
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def consumers(client: Client, prefix: str) -> int:
    return len(await client.jetstream().consumers_info(f"{prefix}EVT"))


async def left_nothing(client: Client, prefix: str) -> None:
    async def gone() -> bool:
        return await consumers(client, prefix) == 0

    await eventually(gone, within=10)


@asynccontextmanager
async def pulls_counted(client: Client, prefix: str) -> AsyncGenerator[list[Msg]]:
    """Every request for messages that a follower sends meanwhile."""
    pulls: list[Msg] = []

    async def hear(message: Msg) -> None:
        pulls.append(message)

    await client.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.{prefix}EVT.>", cb=hear)
    await client.flush()
    yield pulls


async def test_a_slow_reader_is_never_sent_more_than_it_asked_for(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    await append_many(jetstream_log, 0, 3500)
    taken: list[int] = []
    async with (
        logs.connected([nats_url]) as client,
        pulls_counted(client, stream_prefix) as pulls,
        aclosing(following(jetstream_log, 0)) as batches,
    ):
        async for batch in batches:
            taken += [commit.position for commit in batch]
            await asyncio.sleep(0.02)
            assert (len(pulls) - 1) * CREDIT <= len(taken)
            if len(taken) == 3500:
                break
    assert taken == list(range(1, 3501))


async def test_large_commits_are_asked_for_by_their_size(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    await append_many(jetstream_log, 0, 60, size=200_000)
    async with (
        logs.connected([nats_url]) as client,
        pulls_counted(client, stream_prefix) as pulls,
    ):
        heard = await read(jetstream_log, 0, 60)
        await client.flush()
    assert [commit.position for commit in heard] == list(range(1, 61))
    assert len(pulls) == 2


async def test_a_follower_survives_the_loss_of_its_consumer(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    async with listening(jetstream_log) as listener, logs.connected([nats_url]) as client:
        for lost in range(3):
            await append_many(jetstream_log, 10 * lost, 10)
            await listener.has_heard(10 * lost + 10)
            for consumer in await client.jetstream().consumers_info(f"{stream_prefix}EVT"):
                await client.jetstream().delete_consumer(f"{stream_prefix}EVT", consumer.name or "")
        await append_many(jetstream_log, 30, 10)
        await listener.has_heard(40)


async def test_a_follower_survives_its_server(
    private_nats: Callable[[], Awaitable[Server]],
) -> None:
    server = await private_nats()
    async with logs.connected([server.url]) as client:
        await logs.make_stream(client, "t")
        async with logs.opened(client, "t") as log, listening(log) as listener:
            await append_many(log, 0, 20)
            await listener.has_heard(20)
            server.kill()
            await server.start()
            await eventually(lambda: answers(log), within=10)
            await append_many(log, 20, 20)
            await listener.has_heard(40)


async def answers(log: JetStreamLog) -> bool:
    return await log.end() > 0


async def test_a_follower_survives_a_change_of_leader(
    nats_cluster: Sequence[str], stream_prefix: str, cluster_log: JetStreamLog
) -> None:
    async with listening(cluster_log) as listener, logs.connected(nats_cluster) as client:
        for command in range(30):
            await insist(cluster_log, "a", f"c{command}")
            if command in (10, 20):
                request = f"$JS.API.STREAM.LEADER.STEPDOWN.{stream_prefix}EVT"
                await client.request(request, b"", timeout=5)
        await listener.has_heard(30)


async def test_a_follower_survives_a_connection_that_is_cut_again_and_again(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    chance = random.Random(5)
    async with proxy(nats_url) as between, logs.connected([between.url]) as client:
        far_log = JetStreamLog(client, LogNames(stream_prefix))
        await far_log.start()
        async with listening(far_log) as listener:
            for cut in range(5):
                await append_many(jetstream_log, 50 * cut, 50)
                await asyncio.sleep(chance.uniform(0, 0.05))
                if client.is_connected:
                    between.cut()
            await listener.has_heard(250)


async def test_a_follower_that_can_not_ask_for_more_forgets_nothing_it_was_sent(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    await append_many(jetstream_log, 0, CREDIT + 200)
    heard: list[int] = []
    async with (
        asyncio.timeout(30),
        asyncio.TaskGroup() as tasks,
        proxy(nats_url) as between,
        logs.connected([between.url], pending_size=0) as client,  # nothing waits for better times
        logs.opened(client, stream_prefix) as far_log,
        aclosing(following(far_log, 0)) as batches,
    ):

        async def sent() -> bool:
            return client.stats["in_msgs"] >= CREDIT

        async def cut_off() -> bool:
            return client.is_reconnecting

        async for batch in batches:
            if not heard:
                await eventually(sent)
                await between.down()
                await eventually(cut_off)
                tasks.create_task(between.up())
            heard += [commit.position for commit in batch]
            if heard[-1] == CREDIT + 200:
                break
    assert heard == list(range(1, CREDIT + 201))


async def test_a_follower_that_is_stopped_leaves_nothing_behind(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    await append_many(jetstream_log, 0, 5)
    async with logs.connected([nats_url]) as client:
        async with listening(jetstream_log) as listener:
            await listener.has_heard(5)
            assert await consumers(client, stream_prefix) == 1
        await left_nothing(client, stream_prefix)
        async with aclosing(following(jetstream_log, 0)) as batches:
            async for _ in batches:
                break
        await left_nothing(client, stream_prefix)


async def test_a_follower_stopped_while_it_begins_leaves_nothing_behind(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    async with logs.connected([nats_url]) as client:
        for steps in range(12):
            beginning = asyncio.create_task(Listener(jetstream_log).listen())
            for _ in range(steps):
                await asyncio.sleep(0)
            beginning.cancel()
            await asyncio.wait({beginning})
        await left_nothing(client, stream_prefix)


async def test_a_follower_that_can_not_begin_says_so_once_and_asks_ever_more_rarely(
    nats_url: str, stream_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[float] = []

    async def hear(_: Msg) -> None:
        asked.append(time.monotonic())

    async def asked_often() -> bool:
        return len(asked) >= 5

    async with logs.connected([nats_url]) as client, logs.opened(client, stream_prefix) as log:
        await client.subscribe(f"$JS.API.CONSUMER.CREATE.{stream_prefix}EVT.>", cb=hear)
        async with listening(log) as listener:
            await eventually(asked_often, within=20)
            await logs.make_stream(client, stream_prefix)
            await log.append(stream("j1"), Head(), [STARTED], context("c1"))
            await listener.has_heard(1)

    assert asked[4] - asked[3] > 3 * (asked[1] - asked[0])
    assert caplog.text.count("begins again") == 1


async def test_a_follower_fails_with_its_connection(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    await append_many(jetstream_log, 0, 1)
    async with logs.connected([nats_url]) as client, logs.opened(client, stream_prefix) as log:
        listener = Listener(log)
        listening = asyncio.create_task(listener.listen())
        await listener.has_heard(1)
        await client.close()
        with pytest.raises(LogUnavailable, match="closed"):
            async with asyncio.timeout(SILENCE / 2):
                await listening
