"""Tasks that come once more after their worker died: at most tidied up after, never begun again.
And what does not come to an end for all because one job is in trouble."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from processors.attempt import Attempt, Failed, Hold
from processors.dispatch import Dispatcher, task_of
from processors.steps import concluded
from schemas.job import BeginCommit, CancelJob, CompleteJob, ConfirmStop, Job, StartAttempt
from schemas.live import Level
from schemas.log import Outcome
from schemas.message import Command, Context, Rejected
from schemas.weights import WeightsReserved
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
    await here.say(StartAttempt(job, 1, "w0"))
    await here.say(CancelJob(job))
    await here.say(ConfirmStop(job, 1))

    await delivered_again(here, job)

    assert (here.script.cleaned, here.script.attempts) == ([job], [])


async def test_what_was_to_be_kept_of_a_cancelled_job_is_kept(here: Rig) -> None:
    job = await here.order()
    await here.say(StartAttempt(job, 1, "w0"))
    await here.say(CancelJob(job, keep_partial=True))
    await here.say(ConfirmStop(job, 1))

    await delivered_again(here, job)

    assert (here.script.cleaned, here.script.attempts) == ([], [])


async def test_what_a_completed_job_left_behind_is_removed(here: Rig) -> None:
    job = await here.order()
    await here.say(StartAttempt(job, 1, "w0"))
    await here.say(BeginCommit(job, 1, "m" * 64))
    await here.say(CompleteJob(job, 1, 10, 1))

    await delivered_again(here, job)

    assert (here.script.cleaned, here.script.attempts) == ([job], [])


class Silent:
    async def write(self, namespace: str, job: str, text: str, level: Level = "info") -> None:
        """Nobody reads it."""


async def unheard(command: Command, context: Context) -> Outcome:
    return Outcome((), None)


class Busy:
    """Claims of which those on one target can not be completed for now."""

    async def complete_claim(self, claim: WeightsReserved, context: Context) -> None:
        if claim.target == "org/busy":
            raise Rejected("busy", "it kept moving")

    async def settle(self, job: Job, context: Context) -> None:
        """Left to whoever takes the target next."""


async def test_a_claim_that_can_not_be_completed_now_keeps_nobody_else_waiting(here: Rig) -> None:
    dispatcher = Dispatcher(here.queue, here.look, Busy())
    here.run(dispatcher.run(here.nats, here.names.stream))
    here.worker()
    await here.order("org/busy")
    job = await here.order("org/other")
    here.script.end()
    here.script.end()

    await here.becomes(job, "completed")


async def test_a_defect_fails_the_attempt_that_met_it_and_no_other() -> None:
    async def defective() -> Failed:
        raise KeyError("secret")

    context = Context(command="c", at=datetime.now(UTC), actor="w")
    attempt = Attempt(Job(id="j1"), context, Hold(60), unheard, Silent())

    result = await concluded(attempt, defective())

    assert result == Failed(
        "internal", "an unexpected KeyError; the worker's log says more", retryable=True
    )
