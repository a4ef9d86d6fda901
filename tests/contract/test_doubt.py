"""Answers that never come: every doubt about an append is resolved, and soon."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence

import pytest
from nats.aio.client import Client

from commands.dispatch import Dispatcher
from commands.jetstream import JetStreamLog, LogNames
from schemas.job import RequestJob, VerifySpec
from schemas.log import Ambiguous, Commit, Head, LogUnavailable, Stream
from tests.contract import logs
from tests.contract.logs import STARTED, context, stream
from tests.contract.writers import check, write_through
from tests.proxy import Proxy, proxy
from tests.support import PATIENCE, eventually

ID = "01J00000000000000000000001"
JOB = stream(ID)
REQUEST = RequestJob(ID, "org/model", "s1", 1, VerifySpec())
LITTLE = 0.4
"""How long the answer to one request is waited for."""


@pytest.fixture
async def between(nats_url: str) -> AsyncGenerator[Proxy]:
    async with proxy(nats_url) as between:
        yield between


@pytest.fixture
async def far_client(between: Proxy) -> AsyncGenerator[Client]:
    async with logs.connected([between.url]) as client:
        yield client
        between.mend()
        await between.up()


@pytest.fixture
async def far_log(
    far_client: Client, stream_prefix: str, jetstream_log: JetStreamLog
) -> JetStreamLog:
    """The same log as `jetstream_log`, reached through the proxy and with little patience."""
    log = JetStreamLog(far_client, LogNames(stream_prefix), patience=LITTLE)
    await log.start()
    return log


async def doubtful_append(log: JetStreamLog) -> None:
    with pytest.raises(Ambiguous):
        await log.append(JOB, Head(), [STARTED], context("c1"))


async def readable(log: JetStreamLog) -> None:
    async def answers() -> bool:
        try:
            await log.load(JOB)
        except LogUnavailable:
            return False
        return True

    await eventually(answers)


@pytest.fixture
async def patient_log(far_client: Client, stream_prefix: str) -> AsyncGenerator[JetStreamLog]:
    """The same log as `far_log`, for what needs the answer, however long that takes."""
    async with logs.opened(far_client, stream_prefix) as log:
        yield log


async def test_an_append_whose_answer_is_lost_is_found(
    far_log: JetStreamLog, patient_log: JetStreamLog, between: Proxy
) -> None:
    between.mute = True
    await doubtful_append(far_log)
    between.mend()
    await readable(far_log)

    outcome = await Dispatcher(patient_log, PATIENCE)(REQUEST, context("c1"))

    assert outcome.commit is not None
    assert outcome.commit.events == (STARTED,)
    assert await patient_log.end() == 1


async def test_an_append_that_was_lost_is_made_again(
    far_log: JetStreamLog, patient_log: JetStreamLog, between: Proxy, jetstream_log: JetStreamLog
) -> None:
    between.deaf = True
    await doubtful_append(far_log)
    assert await jetstream_log.end() == 0
    between.mend()
    await readable(far_log)

    outcome = await Dispatcher(patient_log, PATIENCE)(REQUEST, context("c1"))

    assert outcome.position == 1
    assert await patient_log.end() == 1


async def test_an_append_that_arrives_after_it_was_given_up_is_found(
    far_log: JetStreamLog, patient_log: JetStreamLog, between: Proxy, jetstream_log: JetStreamLog
) -> None:
    between.delay = LITTLE + 0.2
    await doubtful_append(far_log)
    between.delay = 0.0

    async def arrived() -> bool:
        return await jetstream_log.end() == 1

    await eventually(arrived)
    outcome = await Dispatcher(patient_log, PATIENCE)(REQUEST, context("c1"))
    assert outcome.commit is not None
    assert outcome.commit.events == (STARTED,)
    assert await patient_log.end() == 1


async def test_the_same_append_once_more_is_not_taken_for_success(
    jetstream_log: JetStreamLog,
) -> None:
    said = context("c1")
    first = await jetstream_log.append(JOB, Head(), [STARTED], said)
    with pytest.raises(Ambiguous, match="seen before"):
        await jetstream_log.append(JOB, Head(first.position, first.hash), [STARTED], said)
    assert await jetstream_log.end() == 1


class Counted:
    """How often a log is read."""

    def __init__(self, log: JetStreamLog, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loads = 0
        self._load = log.load
        monkeypatch.setattr(log, "load", self._counted)

    async def _counted(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        self.loads += 1
        return await self._load(stream, fresh=fresh)


async def given_up(log: JetStreamLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that ends once its first request is not answered, long before its own deadline."""
    counted = Counted(log, monkeypatch)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LogUnavailable, match="can not be read"):
            await Dispatcher(log, deadline=100 * PATIENCE)(REQUEST, context("c1"))
    assert counted.loads == 1


async def test_a_command_ends_soon_when_the_log_is_away(
    far_log: JetStreamLog, between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await between.down()
    await given_up(far_log, monkeypatch)


async def test_a_command_ends_soon_when_the_log_goes_away_under_it(
    far_log: JetStreamLog, between: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await readable(far_log)
    between.mute = True
    await given_up(far_log, monkeypatch)


async def test_everything_that_needs_an_answer_says_when_there_is_none(
    far_log: JetStreamLog, between: Proxy
) -> None:
    await between.down()
    for asked in (far_log.load(JOB), far_log.fetch([1]), far_log.end(), far_log.epoch()):
        with pytest.raises(LogUnavailable):
            await asked


async def test_writers_cut_off_again_and_again_lose_nothing_and_say_nothing_twice(
    far_client: Client, far_log: JetStreamLog, between: Proxy, jetstream_log: JetStreamLog
) -> None:
    chance = random.Random(7)

    async def cut() -> None:
        for _ in range(12):
            await asyncio.sleep(chance.uniform(0.02, 0.2))
            if far_client.is_connected:
                between.cut()

    async with asyncio.timeout(2 * PATIENCE):
        granted = await write_through(far_log, cut())

    await check(jetstream_log, granted)
