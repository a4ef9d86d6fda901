"""Workers and dispatchers where something comes between two steps: a cut, or another's word."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

import nats
import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import OutboundBufferLimitError
from nats.js.client import JetStreamContext
from nats.js.errors import APIError

from commands.dispatch import Dispatcher as Commands
from commands.jetstream import JetStreamLog
from commands.looking import Jobs
from processors.attempt import Attempt, Done, Result
from processors.dispatch import Dispatcher
from processors.live import Live, LiveNames
from processors.steps import begin_commit, concluded
from processors.watchdog import Watchdog
from processors.work import Raced, Task, WorkQueue
from processors.worker import Beats, Desk
from schemas.job import PauseJob, ResumeJob, Seen
from schemas.live import Tick
from schemas.log import LogUnavailable, Outcome, Stream
from schemas.message import Command, Context, Rejected
from schemas.wire import TYPES
from tests.processors.rig import Rig, Script, rig
from tests.proxy import Proxy, proxy
from tests.support import PATIENCE, eventually


@pytest.fixture
async def here(nats_url: str, stream_prefix: str) -> AsyncIterator[Rig]:
    async with rig(nats_url, stream_prefix) as made:
        yield made


class Slow:
    """Heartbeats, of which some take long: the last one's answer, or the next one on its way."""

    def __init__(self, beats: Beats) -> None:
        self._beats = beats
        self.next_waits = asyncio.Event()
        self.waits = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def say(self, tick: Tick) -> None:
        if self.next_waits.is_set():
            self.next_waits.clear()
            self.waits.set()
            await self.goes_on.wait()
        await self._beats.say(tick)
        if tick.released:
            await asyncio.sleep(0.2)

    async def tick(self, namespace: str, job: str) -> Tick | None:
        return await self._beats.tick(namespace, job)


async def test_a_worker_that_leaves_is_not_taken_to_be_alive_by_the_next(here: Rig) -> None:
    here.dispatch()
    leaving = here.worker("w1", desk=here.desk._replace(beats=Slow(here.live)))
    job = await here.order()
    await here.becomes(job, "running")
    other = Script()
    here.worker("w2", other)

    await leaving.leave()

    await eventually(lambda: _are(other.attempts, 1))  # long before the lease is over
    other.end()
    await here.becomes(job, "completed")


class Committing(Script):
    """Begins its commit when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = asyncio.Event()

    async def run(self, attempt: Attempt) -> Result:
        self.attempts.append(attempt)
        return await concluded(attempt, self._commit(attempt))

    async def _commit(self, attempt: Attempt) -> Result:
        await self.commits.wait()
        await begin_commit(attempt, "m" * 64)
        return Done(10, 1)


async def test_a_pause_taken_back_before_the_worker_heard_of_it_does_not_stop_it(here: Rig) -> None:
    here.dispatch()
    script, beats = Committing(), Slow(here.live)
    refused = asyncio.Event()

    async def dispatch(command: Command, context: Context) -> Outcome:
        try:
            return await here.commands(command, context)
        except Rejected:
            refused.set()
            raise

    here.worker("w1", script, desk=here.desk._replace(beats=beats, dispatch=dispatch))
    job = await here.order()
    await eventually(lambda: _are(script.attempts, 1))
    beats.next_waits.set()
    await beats.waits.wait()
    await here.say(PauseJob(job))
    script.commits.set()
    await refused.wait()
    await here.say(ResumeJob(job))
    beats.goes_on.set()

    await here.becomes(job, "completed")


@asynccontextmanager
async def apart(
    here: Rig, url: str, patience: float = PATIENCE
) -> AsyncGenerator[tuple[Proxy, Client, Desk]]:
    """What a worker has whose connection can be cut."""
    async with proxy(url) as between:
        client = await nats.connect(
            between.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_nothing
        )
        log = JetStreamLog(client, here.names, patience=patience)
        await log.start()
        live = Live(client, LiveNames(here.names.prefix))
        try:
            yield between, client, Desk(Jobs(log), Commands(log), live, here.logs)
        finally:
            await between.up()
            await eventually(lambda: _is(client.is_connected, True))
            await log.stop()
            await client.close()


async def _nothing(_: Exception) -> None:
    """That it is cut off is what the test is about."""


async def test_no_heartbeat_is_kept_for_later_while_the_connection_is_cut(
    nats_url: str, stream_prefix: str
) -> None:
    async with (
        rig(nats_url, stream_prefix) as here,
        apart(here, nats_url) as (between, client, desk),
    ):
        here.dispatch()
        here.worker("w1", desk=desk, client=client, lease=2.0)
        job = await here.order()
        await eventually(lambda: _are(here.script.attempts, 1))
        [attempt] = here.script.attempts

        async def beats() -> bool:  # unless a stall has ended its hold before it ever did
            return await here.live.tick("default", job) is not None or not attempt.hold.held

        await eventually(beats)
        await between.down()
        await eventually(lambda: _is(client.is_connected, False))
        cut = datetime.now(UTC)
        await eventually(lambda: _is(attempt.hold.held, False))
        await between.up()
        await eventually(lambda: _is(client.is_connected, True))
        await client.flush()

        last = await here.live.tick("default", job)
        assert last is None or last.at <= cut


async def test_a_worker_that_is_cut_off_leaves_once_its_lease_is_over(
    nats_url: str, stream_prefix: str
) -> None:
    async with (
        rig(nats_url, stream_prefix, lease=1.5) as here,
        apart(here, nats_url, patience=0.3) as (between, client, desk),
    ):
        here.dispatch()
        worker = here.worker("w1", desk=desk, client=client)
        await here.order()
        await eventually(lambda: _is(bool(here.script.attempts), True))
        await between.down()
        here.script.end()  # its commit is said into the void

        async with asyncio.timeout(PATIENCE):
            await worker.leave()


async def test_what_was_put_since_it_looked_is_not_withdrawn_by_a_slow_dispatcher(
    here: Rig,
) -> None:
    looked, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(namespace: str, job: str) -> Seen:
        seen = await here.look(namespace, job)
        looked.set()
        await goes_on.wait()
        return seen

    job = await here.order()
    await here.say(PauseJob(job))
    late = asyncio.create_task(Dispatcher(here.queue, slow, here.orders).ensure("default", job))
    await looked.wait()
    await here.say(ResumeJob(job))
    await here.dispatcher.ensure("default", job)
    goes_on.set()
    await late

    assert len(await here.tasks_waiting()) == 1


@pytest.mark.parametrize("first", [0, 1])
async def test_a_job_that_can_not_be_read_does_not_hide_the_others(here: Rig, first: int) -> None:
    jobs = [await here.order("org/a"), await here.order("org/b")]

    async def look(namespace: str, job: str) -> Seen:
        if job == jobs[first]:
            raise LogUnavailable("a newer build wrote it")
        return await here.look(namespace, job)

    async def unfinished() -> Sequence[tuple[str, str]]:
        return [("default", job) for job in jobs]

    watchdog = Watchdog(unfinished, look, here.live, here.dispatcher, here.lease)
    for _ in range(2):
        await watchdog.look()

    assert len(await here.tasks_waiting()) == 1


class Rivalled(WorkQueue):
    """A queue in which somebody else is the first to put any task."""

    def __init__(self, here: Rig) -> None:
        super().__init__(here.nats, here.work_names)
        self._here = here

    async def withdraw(self, namespace: str, job: str, *, mark: int | None = None) -> None:
        await super().withdraw(namespace, job, mark=mark)
        await self._here.dispatcher.ensure(namespace, job)


async def test_a_task_that_somebody_else_puts_meanwhile_does_not_hide_the_others(
    here: Rig,
) -> None:
    jobs = [await here.order("org/a"), await here.order("org/b")]

    async def unfinished() -> Sequence[tuple[str, str]]:
        return [("default", job) for job in jobs]

    late = Dispatcher(Rivalled(here), here.look, here.orders)
    watchdog = Watchdog(unfinished, here.look, here.live, late, here.lease)
    for _ in range(2):
        await watchdog.look()

    assert len(await here.tasks_waiting()) == 2


class Agreeing(Client):
    """Answers what is put as a cluster does that is about to store another message there."""

    def jetstream(self, **options: Any) -> JetStreamContext:
        return _Agreeing(self, **options)


class _Agreeing(JetStreamContext):
    async def publish(self, *_: Any, **__: Any) -> NoReturn:
        raise APIError(code=400, err_code=10164, description="wrong last sequence")


async def test_a_task_that_a_cluster_is_about_to_store_is_a_race(here: Rig, nats_url: str) -> None:
    task = Task("fetch", "default", 1, "default", "j", 1)
    async with Agreeing() as client:
        await client.connect(nats_url)

        with pytest.raises(Raced):
            await WorkQueue(client, here.work_names).put(task)


async def test_what_a_newer_build_wrote_does_not_keep_the_others_from_being_dispatched(
    here: Rig,
) -> None:
    subject = here.names.subject(Stream("default", "weights", "new"))
    types = {TYPES: "weights.reserved,weights.blessed"}
    await here.nats.jetstream().publish(subject, b"[{},{}]", headers=types)
    here.dispatch()
    here.worker()

    job = await here.order()
    here.script.end()

    await here.becomes(job, "completed")


class Deaf(Client):
    """Can not listen to what becomes of a job, the first time."""

    refusals = 1

    async def subscribe(self, subject: str, *rest: Any, **more: Any) -> Subscription:
        if ".job." in subject and self.refusals:
            self.refusals -= 1
            raise OutboundBufferLimitError
        return await super().subscribe(subject, *rest, **more)


async def test_no_heartbeat_is_sent_for_an_attempt_that_never_came_to_run(
    nats_url: str, stream_prefix: str
) -> None:
    async with Deaf() as client, rig(nats_url, stream_prefix, lease=1.5) as here:
        await client.connect(nats_url)
        here.dispatch()
        here.worker("w1", client=client)
        job = await here.order()
        for _ in range(20):  # on a machine that stalls it may lose its lease, and try again
            here.script.end()

        await here.becomes(job, "completed")
        assert here.script.attempts[0].job.attempt == 2


async def _are(things: Sequence[object], count: int) -> bool:
    return len(things) == count


async def _is(actual: object, expected: object) -> bool:
    return actual == expected
