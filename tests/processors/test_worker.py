"""Dispatch, queue and worker together, on a real NATS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import pytest
from ulid import ULID

from processors import worker
from processors.attempt import Done, Failed
from processors.dispatch import task_of
from processors.ending import end
from processors.watchdog import Watchdog
from processors.work import Raced, Task, WorkQueue
from processors.worker import Beats
from schemas.job import CancelJob, ChangePriority, PauseJob, ResumeJob, RetryJob, Seen, StartAttempt
from schemas.live import Tick
from schemas.message import Rejected
from tests.processors.rig import LEASE, Rig, Script, rig
from tests.support import eventually


@pytest.fixture
async def here(nats_url: str, stream_prefix: str) -> AsyncIterator[Rig]:
    async with rig(nats_url, stream_prefix) as made:
        made.dispatch()
        yield made


async def test_a_requested_job_is_done_once(here: Rig) -> None:
    here.worker()
    job = await here.order()
    here.script.end()

    await here.becomes(job, "completed")

    assert await here.types(job) == [
        "job.requested",
        "job.started",
        "job.commit.started",
        "job.completed",
    ]


async def test_the_claim_ends_with_the_job(here: Rig) -> None:
    here.worker()
    job = await here.order()
    here.script.end(Failed("fetch_failed", "no", retryable=False))
    await here.becomes(job, "failed")

    again = await here.order()

    assert again != job


async def test_a_failed_attempt_is_tried_again_later_and_the_log_says_when(here: Rig) -> None:
    here.worker()
    job = await here.order()
    here.script.end(Failed("fetch_failed", "cut off", retryable=True))
    here.script.end(Done(10, 1))

    await here.becomes(job, "completed")

    assert await here.types(job) == [
        "job.requested",
        "job.started",
        "job.attempt.failed",
        "job.started",
        "job.commit.started",
        "job.completed",
    ]


async def test_a_job_out_of_attempts_has_failed(here: Rig) -> None:
    here.worker()
    job = await here.order()
    for _ in range(3):
        here.script.end(Failed("fetch_failed", "cut off", retryable=True))

    await here.becomes(job, "failed")

    assert (await here.types(job)).count("job.attempt.failed") == 3


async def test_cancelling_stops_the_runner_and_says_so_once_it_stopped(
    here: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOOK_SECONDS", LEASE)  # it hears of it, and need not look
    here.worker()
    here.worker("w2", kind="disk")
    job = await here.order()
    await here.becomes(job, "running")

    await here.say(CancelJob(job))

    await here.becomes(job, "cancelled")
    assert (await here.types(job))[-2:] == ["job.cancel.requested", "job.cancelled"]
    await eventually(lambda: _is(here.script.cleaned, [job]))


async def test_pausing_frees_the_slot_and_resuming_goes_on(here: Rig) -> None:
    here.worker()
    job = await here.order()
    await here.becomes(job, "running")
    await here.say(PauseJob(job))
    await here.becomes(job, "paused")

    other = await here.order("org/other")
    here.script.end()
    await here.becomes(other, "completed")
    await here.say(ResumeJob(job))
    here.script.end()

    await here.becomes(job, "completed")


async def test_a_pause_taken_back_before_it_was_carried_out_changes_nothing(here: Rig) -> None:
    here.worker()
    job = await here.order()
    await here.becomes(job, "running")
    await here.say(PauseJob(job))
    await here.say(ResumeJob(job))
    here.script.end()

    await here.becomes(job, "completed")


async def test_a_cancelled_job_can_be_retried(here: Rig) -> None:
    job = await here.order()
    await here.say(CancelJob(job))
    await here.becomes(job, "cancelled")
    here.worker()

    await here.orders.retry(job, False, here.context())
    here.script.end()

    await here.becomes(job, "completed")


async def test_a_job_waiting_for_its_next_attempt_can_be_retried_at_once(here: Rig) -> None:
    here.worker()
    job = await here.order()
    here.script.end(Failed("fetch_failed", "wait", retryable=True, retry_after=3600))
    await here.becomes(job, "retrying")

    await here.say(RetryJob(job))
    here.script.end()

    await here.becomes(job, "completed")


async def test_the_more_urgent_job_goes_first(here: Rig) -> None:
    slow = await here.order("org/slow")
    fast = await here.order("org/fast")
    await here.say(ChangePriority(slow, 2))
    await here.say(ChangePriority(fast, 0))
    await eventually(lambda: _tasks(here, [".p0.", ".p2."]))
    here.worker()

    await here.becomes(fast, "running")

    assert (await here.seen(slow)).job.status == "pending"


async def test_a_worker_told_to_leave_hands_its_job_over_at_once(here: Rig) -> None:
    leaving = here.worker("w1")
    job = await here.order()
    await here.becomes(job, "running")
    other = Script()
    here.worker("w2", other)

    await leaving.leave()
    other.end()

    await here.becomes(job, "completed")  # long before the lease is over
    assert (await here.seen(job)).job.attempt == 2


async def test_a_dead_workers_job_is_taken_over_once_its_lease_is_over(
    nats_url: str, stream_prefix: str
) -> None:
    async with rig(nats_url, stream_prefix, lease=1.5) as here:
        here.dispatch()
        here.worker("w1")
        dead = here.tasks[-1]
        job = await here.order()
        await here.becomes(job, "running")
        await end(dead)
        other = Script()
        here.worker("w2", other)
        for _ in range(20):  # on a machine that stalls it may lose its own lease, and try again
            other.end()

        await here.becomes(job, "completed")

        assert (await here.types(job)).count("job.started") >= 2


async def test_a_superseded_attempt_may_not_write_any_more(here: Rig) -> None:
    here.worker("w1")
    job = await here.order()
    await eventually(lambda: _is(len(here.script.attempts), 1))
    [first] = here.script.attempts

    await here.say(StartAttempt(job, 2, "w2"))

    await eventually(lambda: _is(first.hold.held, False))
    with pytest.raises(Rejected):
        first.hold.check()


async def test_a_task_lost_with_its_queue_is_put_again(here: Rig) -> None:
    job = await here.order()
    await eventually(lambda: _tasks(here, [".p1."]))
    await here.queue.withdraw("default", job)

    async def unfinished() -> list[tuple[str, str]]:
        return [("default", job)]

    watchdog = Watchdog(unfinished, here.look, here.live, here.dispatcher, here.lease)
    await watchdog.look()
    await watchdog.look()

    await eventually(lambda: _tasks(here, [".p1."]))


class Lively:
    """Heartbeats, of which the last is always from just now."""

    def __init__(self, beats: Beats) -> None:
        self._beats = beats

    async def say(self, tick: Tick) -> None:
        await self._beats.say(tick)

    async def tick(self, namespace: str, job: str) -> Tick | None:
        tick = await self._beats.tick(namespace, job)
        return tick and msgspec.structs.replace(tick, at=datetime.now(UTC))


async def test_a_task_for_a_job_that_is_alive_elsewhere_starts_nothing_and_comes_again(
    here: Rig,
) -> None:
    here.worker("w1")
    job = await here.order()
    await here.becomes(job, "running")
    other, looks = Script(), list[str]()

    async def look(namespace: str, job: str) -> Seen:
        looks.append(job)
        return await here.look(namespace, job)

    desk = here.desk._replace(look=look, beats=Lively(here.live))
    here.worker("w2", other, desk=desk, lease=0.5)
    await here.dispatcher.redispatch("default", await here.seen(job))
    await eventually(lambda: _at_least(len(looks), 2))
    here.script.end()

    await here.becomes(job, "completed")
    await eventually(lambda: _tasks(here, []))
    assert not other.attempts


async def test_of_two_workers_that_look_at_a_job_at_the_same_time_one_does_it(here: Rig) -> None:
    job = await here.order()
    await eventually(lambda: _tasks(here, [".p1."]))
    copy = msgspec.structs.replace(task_of("default", await here.seen(job)), priority=0)
    await here.nats.jetstream().publish(f"{here.work_names.work}.{copy.subject}", b"")
    both = asyncio.Barrier(2)

    async def look(namespace: str, job: str) -> Seen:
        seen = await here.look(namespace, job)
        if not seen.job.attempt:
            await both.wait()
        return seen

    desk = here.desk._replace(look=look)
    here.worker("w1", desk=desk)
    here.worker("w2", desk=desk)
    await eventually(lambda: _is(len(here.script.attempts), 1))
    here.script.end()

    await here.becomes(job, "completed")  # long before the lease is over
    assert (await here.types(job)).count("job.started") == 1


async def test_a_task_that_several_dispatchers_put_at_once_is_put_once(here: Rig) -> None:
    js = here.nats.jetstream()
    task = Task("fetch", "elsewhere", 1, "default", str(ULID()), 1)

    async def put(behind: int) -> None:
        for _ in range(behind):
            await js.stream_info(here.work_names.stream)
        with suppress(Raced):
            await WorkQueue(here.nats, here.work_names).put(task)

    await asyncio.gather(*map(put, range(8)))

    state = (await js.stream_info(here.work_names.stream)).state
    assert (state.last_seq, state.messages) == (1, 1)


async def _at_least(actual: int, least: int) -> bool:
    return actual >= least


async def _is(actual: object, expected: object) -> bool:
    return actual == expected


async def _tasks(here: Rig, places: list[str]) -> bool:
    """Whether exactly the tasks in `places` wait in the queue."""
    js = here.nats.jetstream()
    info = await js.stream_info(here.work_names.stream, f"{here.work_names.work}.>")
    subjects = sorted(info.state.subjects or {})
    return len(subjects) == len(places) and all(
        any(place in subject for subject in subjects) for place in places
    )
