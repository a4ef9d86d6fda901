"""Tasks that come once more after their worker died: at most tidied up after, never begun again."""

from collections.abc import AsyncIterator

import pytest

from processors.dispatch import task_of
from schemas.job import BeginCommit, CancelJob, CompleteJob, ConfirmStop, StartAttempt
from tests.processors.rig import Rig, rig
from tests.support import eventually


@pytest.fixture
async def here(nats_url: str, stream_prefix: str) -> AsyncIterator[Rig]:
    """Without a dispatcher: what it would put into the queue, a test does."""
    async with rig(nats_url, stream_prefix) as made:
        yield made


async def delivered_again(here: Rig, job: str) -> None:
    await here.queue.put(task_of("default", await here.seen(job)))
    here.worker(kind="disk")

    async def taken() -> bool:
        return not await here.tasks_waiting()

    await eventually(taken)


async def test_what_a_cancelled_job_fetched_is_removed(here: Rig) -> None:
    job = await here.order()
    await here.say(StartAttempt(job, "w0"))
    await here.say(CancelJob(job))
    await here.say(ConfirmStop(job, 1))

    await delivered_again(here, job)

    assert (here.script.cleaned, here.script.attempts) == ([job], [])


async def test_what_was_to_be_kept_of_a_cancelled_job_is_kept(here: Rig) -> None:
    job = await here.order()
    await here.say(StartAttempt(job, "w0"))
    await here.say(CancelJob(job, keep_partial=True))
    await here.say(ConfirmStop(job, 1))

    await delivered_again(here, job)

    assert (here.script.cleaned, here.script.attempts) == ([], [])


async def test_what_a_completed_job_left_behind_is_removed(here: Rig) -> None:
    job = await here.order()
    await here.say(StartAttempt(job, "w0"))
    await here.say(BeginCommit(job, 1, "m" * 64))
    await here.say(CompleteJob(job, 1, 10, 1))

    await delivered_again(here, job)

    assert (here.script.cleaned, here.script.attempts) == ([job], [])
