"""Followers of the log on NATS: through everything that can be survived, and gone when stopped."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from commands import following as product
from commands.following import CREDIT, FIRST_PAUSE
from commands.jetstream import JetStreamLog, LogNames
from processors.ending import end
from schemas.job import JobProgress
from schemas.log import EventLog, Head, LogUnavailable
from tests.contract import logs
from tests.contract.logs import STARTED, context, following, progress, read, stream
from tests.contract.writers import insist
from tests.proxy import proxy
from tests.servers import Server
from tests.support import PATIENCE, eventually


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

        await eventually(heard)
        assert self.positions == list(range(1, end + 1))


@asynccontextmanager
async def listening(log: EventLog) -> AsyncGenerator[Listener]:
    listener = Listener(log)
    task = asyncio.create_task(listener.listen())
    yield listener
    await end(task)
    assert task.cancelled()


async def has_consumers(client: Client, prefix: str, count: int) -> None:
    jetstream = client.jetstream(timeout=PATIENCE)

    async def counted() -> bool:
        return len(await jetstream.consumers_info(f"{prefix}EVT")) == count

    await eventually(counted)


@asynccontextmanager
async def pulls_counted(client: Client, prefix: str) -> AsyncGenerator[Counter[str]]:
    """Every request for messages that a follower sends meanwhile, by its consumer: on a machine
    that stalls it may lose one, and begin again with another."""
    pulls: Counter[str] = Counter()

    async def hear(message: Msg) -> None:
        pulls[message.subject] += 1

    await client.subscribe(f"$JS.API.CONSUMER.MSG.NEXT.{prefix}EVT.>", cb=hear)
    await client.flush()
    yield pulls


async def test_a_slow_reader_is_never_sent_more_than_it_asked_for(
    nats_url: str,
    stream_prefix: str,
    jetstream_log: JetStreamLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A request that expires is made again, whatever has come of it.
    never = msgspec.json.decode(product.PULL) | {"expires": int(3600e9)}
    monkeypatch.setattr(product, "PULL", msgspec.json.encode(never))
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
            assert (max(pulls.values(), default=0) - 1) * CREDIT <= len(taken)
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
    assert 1 < pulls.total() <= 2 * len(pulls)


async def test_a_follower_survives_the_loss_of_its_consumer(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    async with listening(jetstream_log) as listener, logs.connected([nats_url]) as client:
        for lost in range(3):
            await append_many(jetstream_log, 10 * lost, 10)
            await listener.has_heard(10 * lost + 10)
            jetstream = client.jetstream(timeout=PATIENCE)
            for consumer in await jetstream.consumers_info(f"{stream_prefix}EVT"):
                with suppress(NotFoundError):  # the follower has begun again by itself
                    await jetstream.delete_consumer(f"{stream_prefix}EVT", consumer.name or "")
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
            await eventually(lambda: answers(client))
            await append_many(log, 20, 20)
            await listener.has_heard(40)


async def answers(client: Client) -> bool:
    try:
        await client.jetstream(timeout=2).stream_info("tEVT")
    except (NatsError, TimeoutError):
        return False
    return True


async def test_a_follower_survives_a_change_of_leader(
    nats_cluster: Sequence[str], stream_prefix: str, cluster_log: JetStreamLog
) -> None:
    async with (
        listening(cluster_log) as listener,
        logs.connected(nats_cluster) as client,
        logs.opened(client, stream_prefix, patience=1.5) as log,  # a leader may leave with a word
    ):

        async def stepped_down() -> bool:
            request = f"$JS.API.STREAM.LEADER.STEPDOWN.{stream_prefix}EVT"
            try:
                await client.request(request, b"", timeout=5)
            except (NatsError, TimeoutError):
                return False
            return True

        for command in range(30):
            await insist(log, "a", f"c{command}")
            if command in (10, 20):
                await eventually(stepped_down)
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
        asyncio.timeout(2 * PATIENCE),
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
            await has_consumers(client, stream_prefix, 1)
        await has_consumers(client, stream_prefix, 0)
        async with aclosing(following(jetstream_log, 0)) as batches:
            async for _ in batches:
                break
        await has_consumers(client, stream_prefix, 0)


async def test_a_follower_stopped_while_it_begins_leaves_nothing_behind(
    nats_url: str,
    stream_prefix: str,
    jetstream_log: JetStreamLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(product, "MOMENT", PATIENCE)  # while the server answers at all
    async with logs.connected([nats_url]) as client:
        for steps in range(12):
            beginning = asyncio.create_task(Listener(jetstream_log).listen())
            for _ in range(steps):
                await asyncio.sleep(0)
            await end(beginning)
        await has_consumers(client, stream_prefix, 0)


async def test_a_follower_that_can_not_begin_says_so_once_and_asks_ever_more_rarely(
    nats_url: str,
    stream_prefix: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    async def asked_often() -> bool:
        return len(asked) >= 5

    async with logs.connected([nats_url]) as client, logs.opened(client, stream_prefix) as log:
        request = client.request

        async def noted(subject: str, *args: Any, **options: Any) -> Msg:
            if subject.startswith(f"$JS.API.CONSUMER.CREATE.{stream_prefix}EVT."):
                asked.append(time.monotonic())
            return await request(subject, *args, **options)

        monkeypatch.setattr(client, "request", noted)
        async with listening(log) as listener:
            await eventually(asked_often)
            assert caplog.text.count("begins again") == 1
            await logs.make_stream(client, stream_prefix)
            await log.append(stream("j1"), Head(), [STARTED], context("c1"))
            await listener.has_heard(1)

    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert all(pauses[n] >= 2**n * FIRST_PAUSE for n in range(4))


async def test_a_follower_fails_with_its_connection(
    nats_url: str,
    stream_prefix: str,
    jetstream_log: JetStreamLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(product, "SILENCE", 100 * PATIENCE)  # for want of heartbeats it would not
    await append_many(jetstream_log, 0, 1)
    async with logs.connected([nats_url]) as client, logs.opened(client, stream_prefix) as log:
        listener = Listener(log)
        listening = asyncio.create_task(listener.listen())
        await listener.has_heard(1)
        await client.close()
        with pytest.raises(LogUnavailable, match="closed"):
            async with asyncio.timeout(PATIENCE):
                await listening
