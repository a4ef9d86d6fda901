"""Requests that take two aggregates: one job for a content, one claim on a target, no crash that
leaves either for good."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

import msgspec
import pytest

from commands import job as jobs
from commands import weights
from commands.dispatch import Dispatcher
from commands.memory import MemoryLog
from commands.ordering import Orders
from commands.weights import Weights
from schemas.job import (
    BeginCommit,
    CompleteJob,
    DeleteSpec,
    FailAttempt,
    InstallSpec,
    Job,
    JobSpec,
    Order,
    StartAttempt,
    VerifySpec,
)
from schemas.log import AnyEvent, Commit, EventLog, Head, Outcome, Stream
from schemas.message import Command, Context, Rejected
from schemas.names import weights_id
from schemas.weights import RecordDeleted, RecordInstalled, ReferenceWeights, WeightsReserved
from tests.contract.logs import START, context, read

T = "org/model"
J1, J2, J3 = (f"01J0000000000000000000000{n}" for n in (1, 2, 3))


def spec(key: str = "k1", *, overwrite: bool = False) -> InstallSpec:
    return InstallSpec("org/model", "main", "c0ffee", key, 1, 1, overwrite=overwrite)


def order(id: str, what: JobSpec | None = None) -> Order:
    return Order(id, T, "s1", 1, what or spec())


class World:
    """A log, what is asked of it, and what workers say."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.dispatch = Dispatcher(log)
        self.orders = Orders(log, self.dispatch)
        self._said = 0

    async def job(self, id: str) -> Job:
        return jobs.decider.state(await self.log.load(Stream("default", "job", id)))

    async def weights(self) -> Weights:
        return weights.decider.state(
            await self.log.load(Stream("default", "weights", weights_id(T)))
        )

    async def says(self, command: Command) -> Outcome:
        self._said += 1
        return await self.dispatch(command, context(f"worker/{self._said}"))

    async def fails(self, id: str) -> None:
        attempt = (await self.job(id)).attempt + 1
        await self.says(StartAttempt(id, attempt, "w1"))
        await self.says(FailAttempt(id, attempt, "io", "cut", False, START, 6))

    async def installs(self, id: str) -> None:
        attempt = (await self.job(id)).attempt + 1
        await self.says(StartAttempt(id, attempt, "w1"))
        await self.says(BeginCommit(id, attempt, "m1"))
        await self.says(RecordInstalled(T, id, "m1", 1, 1, 1, ()))
        await self.says(CompleteJob(id, attempt, 1, 1))

    async def settles(self, id: str) -> None:
        """As the dispatcher does, under the same name every time."""
        await self.orders.settle(await self.job(id), context(f"dispatch/{id}/settle"))

    async def types(self) -> list[str]:
        """Everything that has happened, in order."""
        commits = await read(self.log, 0, end) if (end := await self.log.end()) else []
        return [kind for commit in commits for kind in commit.types]


@pytest.fixture
def memory_log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture(params=["memory_log", "jetstream_log"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.getfixturevalue(request.param))


async def test_an_install_claims_its_target_first(world: World) -> None:
    outcome = await world.orders.install(order(J1), context("c1"))

    assert await world.types() == ["weights.reserved", "job.requested"]
    assert outcome.commit is not None
    assert jobs.decider.state(outcome.history).id == J1
    assert {c.correlation for c in await read(world.log, 0, 2)} == {"c1"}


async def test_the_same_request_twice_is_one_request(world: World) -> None:
    first = await world.orders.install(order(J1), context("c1"))
    again = await world.orders.install(order(J1), context("c1"))
    assert again.commit == first.commit
    assert await world.log.end() == 2


async def test_the_same_content_is_one_job_whoever_asks(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    second = await world.orders.install(order(J2), context("c2"))
    assert jobs.decider.state(second.history).id == J1
    await world.installs(J1)
    third = await world.orders.install(order(J3), context("c3"))
    assert jobs.decider.state(third.history).status == "completed"
    assert jobs.decider.state(third.history).id == J1


async def test_the_same_content_asked_for_at_once_is_one_job(world: World) -> None:
    for race in range(50):
        target = f"org/model{race}"
        asked = [
            msgspec.structs.replace(order(f"01J00000000000000000{race:03}00{n}"), target=target)
            for n in (1, 2, 3)
        ]
        outcomes = await asyncio.gather(
            *(world.orders.install(one, context(f"{race}/{one.id}")) for one in asked)
        )
        assert len({jobs.decider.state(outcome.history).id for outcome in outcomes}) == 1


async def test_other_content_for_a_reserved_target_is_a_conflict_that_names_its_job(
    world: World,
) -> None:
    await world.orders.install(order(J1), context("c1"))
    with pytest.raises(Rejected) as refused:
        await world.orders.install(order(J2, spec("k2", overwrite=True)), context("c2"))
    assert (refused.value.code, refused.value.details) == ("conflict", {"job": J1})
    assert (await world.job(J2)).status == "absent"


async def test_of_two_contents_asked_for_at_once_one_is_a_conflict(world: World) -> None:
    for race in range(20):
        target = f"org/model{race}"
        asked = [
            msgspec.structs.replace(
                order(f"01J00000000000000000{race:03}00{n}", spec(f"k{n}")), target=target
            )
            for n in (1, 2)
        ]
        outcomes = await asyncio.gather(
            *(world.orders.install(one, context(f"{race}/{one.id}")) for one in asked),
            return_exceptions=True,
        )
        [granted] = [one for one in outcomes if isinstance(one, Outcome)]
        [refused] = [one for one in outcomes if isinstance(one, Rejected)]
        assert refused.details == {"job": jobs.decider.state(granted.history).id}


@pytest.mark.parametrize("content", ["k1", "k2"])
async def test_the_claim_of_a_job_that_ended_badly_is_taken_over(
    world: World, content: str
) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.orders.cancel(J1, False, context("c2"))

    outcome = await world.orders.install(order(J2, spec(content)), context("c3"))

    assert jobs.decider.state(outcome.history).id == J2
    claim = (await world.weights()).claim
    assert claim is not None
    assert claim.job == J2


async def test_claims_are_taken_over_one_after_the_other(world: World) -> None:
    """One request may meet several claims that are over, each left by another job."""
    for job in (J1, J2):
        await world.orders.install(order(job), context(f"install/{job}"))
        await world.fails(job)
    await world.orders.install(order(J3), context(f"install/{J3}"))
    assert (await world.job(J3)).status == "pending"


async def test_a_claim_without_its_job_is_completed_by_whoever_finds_it(world: World) -> None:
    for number, finder in enumerate(("the next", "the dispatcher")):
        target = f"org/model{number}"
        left = msgspec.structs.replace(order(f"01J0000000000000000000010{number}"), target=target)
        with pytest.raises(Crash):
            await crashing(world, after=1).install(left, context(f"c{number}"))
        assert (await world.job(left.id)).status == "absent"
        if finder == "the next":
            asked = msgspec.structs.replace(left, id=J2, priority=2)
            await world.orders.install(asked, context("next"))
        else:
            stream = Stream("default", "weights", weights_id(target))
            [event] = (await world.log.load(stream))[0].events
            assert isinstance(event, WeightsReserved)
            await world.orders.complete_claim(event, context("dispatch"))
        made = await world.job(left.id)
        assert (made.status, made.priority) == ("pending", 1)


async def test_a_claim_that_is_over_completes_nothing_when_it_is_met_again(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.installs(J1)
    replacing = spec("k2", overwrite=True)
    await world.orders.install(order(J2, replacing), context("c2"))
    await world.fails(J2)
    await world.orders.install(order(J3, spec("k3", overwrite=True)), context("c3"))
    over = (await world.weights()).claim
    assert over is not None
    await world.fails(J3)
    await world.orders.retry(J2, False, context("c4"))
    await world.says(StartAttempt(J2, 2, "w1"))
    await world.says(BeginCommit(J2, 2, "m2"))

    await world.orders.complete_claim(over, context("much later"))

    assert (await world.job(J2)).status == "running"
    assert (await world.job(J3)).status == "failed"


async def test_a_job_whose_worker_died_after_the_deed_is_completed_by_the_next(
    world: World,
) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.says(StartAttempt(J1, 1, "w1"))
    await world.says(BeginCommit(J1, 1, "m1"))
    await world.says(RecordInstalled(T, J1, "m1", 1, 1, 1, ()))

    await world.orders.install(order(J2, spec("k2", overwrite=True)), context("c2"))

    assert (await world.job(J1)).status == "completed"
    assert (await world.job(J2)).status == "pending"


async def test_a_settled_job_leaves_its_target_free(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.settles(J1)
    assert (await world.weights()).claim is not None
    await world.fails(J1)
    await world.settles(J1)
    assert (await world.weights()).claim is None


async def test_a_job_is_settled_again_after_every_retry(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    for turn in range(3):
        await world.fails(J1)
        await world.settles(J1)
        assert (await world.weights()).claim is None
        await world.orders.retry(J1, False, context(f"retry/{turn}"))
        assert (await world.weights()).claim is not None


async def test_a_retry_goes_on_with_the_same_job(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.fails(J1)
    outcome = await world.orders.retry(J1, True, context("c2"))
    state = jobs.decider.state(outcome.history)
    assert (state.id, state.status, state.retries, state.clean_after) == (J1, "pending", 1, 1)


async def test_a_retry_asked_twice_is_one_retry(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.fails(J1)
    first = await world.orders.retry(J1, False, context("c2"))
    await world.fails(J1)

    again = await world.orders.retry(J1, False, context("c2"))

    assert again.commit == first.commit
    assert (await world.job(J1)).status == "failed"


async def test_a_job_whose_target_is_another_s_by_now_is_not_retried(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.fails(J1)
    await world.orders.install(order(J2), context("c2"))
    with pytest.raises(Rejected) as refused:
        await world.orders.retry(J1, False, context("c3"))
    assert (refused.value.code, refused.value.details) == ("conflict", {"job": J2})

    await world.fails(J2)
    await world.orders.install(order(J3, spec("k2")), context("c4"))
    with pytest.raises(Rejected) as refused:
        await world.orders.retry(J1, False, context("c5"))
    assert (refused.value.code, refused.value.details) == ("conflict", {"job": J3})


async def test_a_retry_that_a_crash_left_half_done_is_finished_by_whoever_finds_it(
    world: World,
) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.fails(J1)
    with pytest.raises(Crash):
        await crashing(world, after=1).retry(J1, True, context("c2"))
    assert (await world.job(J1)).status == "failed"

    outcome = await world.orders.install(order(J2), context("c3"))

    state = jobs.decider.state(outcome.history)
    assert (state.id, state.status, state.retries, state.clean_after) == (J1, "pending", 1, 1)
    again = await world.orders.retry(J1, True, context("c2"))
    assert again.commit is None
    assert (await world.job(J1)).retries == 1


async def test_what_is_not_over_is_not_claimed_again_by_a_retry(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    end = await world.log.end()
    assert (await world.orders.retry(J1, False, context("c2"))).commit is None
    assert await world.log.end() == end


async def test_a_job_that_never_was_is_neither_retried_nor_cancelled(world: World) -> None:
    for asked in (
        world.orders.retry(J1, False, context("c1")),
        world.orders.cancel(J1, False, context("c2")),
    ):
        with pytest.raises(Rejected, match="no job"):
            await asked


async def test_weights_are_deleted_by_one_job(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    await world.installs(J1)

    first = await world.orders.delete(order(J2, DeleteSpec()), context("c2"))
    second = await world.orders.delete(order(J3, DeleteSpec()), context("c3"))

    assert jobs.decider.state(first.history).id == J2
    assert jobs.decider.state(second.history).id == J2
    await world.says(StartAttempt(J2, 1, "w1"))
    await world.says(RecordDeleted(T, J2))
    await world.says(CompleteJob(J2, 1, 0, 0))
    assert await world.weights() == Weights()
    with pytest.raises(Rejected, match="no weights"):
        await world.orders.delete(order(J3, DeleteSpec()), context("c4"))


async def test_weights_in_use_or_being_installed_are_not_deleted(world: World) -> None:
    await world.orders.install(order(J1), context("c1"))
    with pytest.raises(Rejected) as refused:
        await world.orders.delete(order(J2, DeleteSpec()), context("c2"))
    assert refused.value.details == {"job": J1}
    await world.installs(J1)
    await world.says(ReferenceWeights(T, "slot:main"))
    with pytest.raises(Rejected, match="slot:main"):
        await world.orders.delete(order(J2, DeleteSpec()), context("c3"))


async def test_weights_are_verified_where_they_are(world: World) -> None:
    with pytest.raises(Rejected, match="no weights"):
        await world.orders.verify(order(J2, VerifySpec()), context("c1"))
    await world.orders.install(order(J1), context("c2"))
    await world.installs(J1)
    elsewhere = msgspec.structs.replace(order(J2, VerifySpec()), store="s2")

    outcome = await world.orders.verify(elsewhere, context("c3"))

    assert jobs.decider.state(outcome.history).store == "s1"
    assert (await world.weights()).claim is None


class Crash(BaseException):
    """The process is gone, and with it whatever it would have caught."""


def crashing(world: World, after: int) -> Orders:
    """Orders that are gone after so many appends."""
    left = after

    async def dispatch(command: Command, context: Context) -> Outcome:
        nonlocal left
        if left == 0:
            raise Crash
        outcome = await world.dispatch(command, context)
        left -= outcome.commit is not None
        return outcome

    return Orders(world.log, dispatch)


Ask: TypeAlias = Callable[[World, Orders, str, str], Awaitable[object]]


async def take_over(_: World, orders: Orders, command: str, job: str) -> None:
    await orders.install(order(job, spec("k2")), context(command))


async def retry(_: World, orders: Orders, command: str, __: str) -> None:
    await orders.retry(J1, True, context(command))


async def settle(world: World, orders: Orders, command: str, _: str) -> None:
    await orders.settle(await world.job(J1), context(command))


@pytest.mark.parametrize("again", [("c2", J2), ("c3", J3)], ids=["by the same", "by another"])
@pytest.mark.parametrize("ask", [take_over, retry, settle])
async def test_after_a_crash_at_any_moment_asking_again_ends_as_if_nothing_had_been(
    ask: Ask, again: tuple[str, str]
) -> None:
    ends: list[list[str]] = []
    crashes = 0
    for after in range(5):
        world = World(MemoryLog())
        await world.orders.install(order(J1), context("c1"))
        await world.fails(J1)
        try:
            await ask(world, crashing(world, after), "c2", J2)
        except Crash:
            crashes += 1
            await ask(world, world.orders, *again)
        ends.append(await world.types())
    assert crashes > 0
    assert all(end == ends[-1] for end in ends)


class Unsteady(MemoryLog):
    """A log before which everyone waits a while, so that anyone may come first; the rules of the
    target hold after every append."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        await self._wait()
        return await super().load(stream, fresh=fresh)

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        await self._wait()
        commit = await super().append(stream, at, events, context)
        await self._check()
        return commit

    async def _wait(self) -> None:
        for _ in range(self._chance.choice([0, 0, 1, 3, 9])):
            await asyncio.sleep(0)

    async def _check(self) -> None:
        commits = await self.fetch(range(1, await self.end() + 1))
        events = [(commit.stream, event) for commit in commits for event in commit.events]
        ids = {stream for stream, _ in events if stream.aggregate == "job"}
        states = [jobs.decider.fold(e for s, e in events if s == id) for id in ids]  # type: ignore[misc]
        live = [job.id for job in states if not job.ended]
        owner = weights.decider.fold(e for s, e in events if s.aggregate == "weights")  # type: ignore[misc]
        assert len(live) <= 1
        assert not live or (owner.claim is not None and owner.claim.job == live[0])


async def test_whoever_comes_first_a_target_has_one_live_job_and_that_holds_its_claim() -> None:
    for seed in range(40):
        chance = random.Random(seed)
        world = World(Unsteady(chance))
        await asyncio.gather(*(act(world, chance, actor) for actor in range(4)))


async def act(world: World, chance: random.Random, actor: int) -> None:
    """Ask for something, eight times."""
    for number in range(8):
        said = context(f"{actor}/{number}")
        job = f"01J000000000000000000000{chance.randrange(6):02}"
        content = spec(chance.choice(["k1", "k2"]))
        with suppress(Rejected):
            match chance.choice(["install", "retry", "retry", "cancel", "fail", "settle"]):
                case "install":
                    await world.orders.install(order(job, content), said)
                case "retry":
                    await world.orders.retry(job, False, said)
                case "cancel":
                    await world.orders.cancel(job, False, said)
                case "fail":
                    await world.fails(job)
                case _:
                    await world.settles(job)
