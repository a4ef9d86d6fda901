"""One command, carried out: whatever happens between asking and hearing."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from commands.decider import ATTEMPTS, handle
from commands.dispatch import Dispatcher
from commands.job import decider
from commands.looking import Jobs
from commands.memory import MemoryLog
from schemas.job import CancelJob, JobCommand, PauseJob, RequestJob, ResumeJob, VerifySpec
from schemas.log import (
    Ambiguous,
    AnyEvent,
    Commit,
    Conflict,
    EventLog,
    Head,
    LogUnavailable,
    Outcome,
    Stream,
    head,
)
from schemas.message import Context, Event, Rejected
from tests.contract.logs import context, stream

REQUEST = RequestJob("j1", "org/model", "s1", 1, VerifySpec())
J1 = stream("j1")


class Troubled:
    """A log with the troubles a test gives it, one for each append, and none after that."""

    def __init__(self, *troubles: str) -> None:
        self.memory = MemoryLog()
        self.troubles = list(troubles)
        self.late: list[tuple[Stream, Head, Sequence[AnyEvent], Context]] = []
        self.loads: list[bool] = []

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        self.loads.append(fresh)
        return await self.memory.load(stream, fresh=fresh)

    async def last(self, stream: Stream, *, fresh: bool = False) -> Commit | None:
        history = await self.load(stream, fresh=fresh)
        return history[-1] if history else None

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        trouble = self.troubles.pop(0) if self.troubles else ""
        match trouble:
            case "request lost":
                raise Ambiguous("no answer")
            case "answer lost":
                await self.memory.append(stream, at, events, context)
                raise Ambiguous("no answer")
            case "request late":
                self.late.append((stream, at, events, context))
                raise Ambiguous("no answer")
            case "moved":
                raise Conflict(str(stream))
            case "overtaken":
                other = Context(command="someone else's", at=context.at, actor="someone")
                await self.memory.append(stream, at, events, other)
            case _:
                for said in self.late:
                    await self.memory.append(*said)
        return await self.memory.append(stream, at, events, context)

    def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]:
        return self.memory.follow(after)

    async def fetch(self, positions: Sequence[int]) -> Sequence[Commit]:
        return await self.memory.fetch(positions)

    async def end(self) -> int:
        return await self.memory.end()


class Lagging(Troubled):
    """A log whose replicas have not heard of the newest commit."""

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        history = await super().load(stream, fresh=fresh)
        return history if fresh else history[:-1]


async def asked(log: EventLog, command: JobCommand, id: str) -> Outcome:
    return await handle(log, decider, command, context(id))


@pytest.mark.parametrize("trouble", ["request lost", "answer lost"])
async def test_a_lost_word_is_looked_for_and_said_again_only_if_it_was_not_heard(
    trouble: str,
) -> None:
    log = Troubled(trouble)

    outcome = await asked(log, REQUEST, "c1")

    assert outcome.commit is not None
    assert outcome.commit.command == "c1"
    assert list(outcome.history) == list(await log.memory.load(J1))
    assert outcome.position == 1


async def test_a_word_that_comes_late_is_not_said_twice() -> None:
    log = Troubled("request late")

    outcome = await asked(log, REQUEST, "c1")

    assert outcome.position == 1
    assert [commit.command for commit in await log.memory.load(J1)] == ["c1"]


async def test_after_a_doubt_the_leader_is_asked() -> None:
    log = Troubled("answer lost")
    await asked(log, REQUEST, "c1")
    assert log.loads == [False, True]


async def test_a_log_that_never_answers_is_unavailable() -> None:
    log = Troubled(*["request lost"] * 9)
    with pytest.raises(LogUnavailable):
        await asked(log, REQUEST, "c1")
    assert len(log.loads) <= ATTEMPTS + 1


async def test_a_command_overtaken_by_another_is_decided_again() -> None:
    log = Troubled("", "overtaken")
    await asked(log, REQUEST, "c1")

    outcome = await asked(log, CancelJob("j1"), "c2")

    assert outcome.commit is None
    assert [commit.command for commit in outcome.history] == ["c1", "someone else's"]


async def test_a_stream_that_never_stands_still_is_busy() -> None:
    log = Troubled(*["moved"] * 9)
    with pytest.raises(Rejected) as refused:
        await asked(log, REQUEST, "c1")
    assert refused.value.code == "busy"
    assert len(log.loads) <= ATTEMPTS + 1


async def test_nothing_is_refused_for_what_a_replica_has_not_heard_yet() -> None:
    log = Lagging()
    await asked(log, REQUEST, "c1")
    assert (await asked(log, CancelJob("j1"), "c2")).position == 2


async def test_nothing_counts_as_done_for_what_a_replica_has_not_heard_yet() -> None:
    log = Lagging()
    await asked(log, REQUEST, "c1")
    await asked(log, PauseJob("j1"), "c2")
    await asked(log, ResumeJob("j1"), "c3")

    again = await asked(log, PauseJob("j1"), "c4")

    assert again.commit is not None
    assert again.commit.types == ("job.pause.requested", "job.paused")


async def test_what_a_replica_lacks_is_no_reason_to_say_it_again() -> None:
    log = Lagging()
    first = await asked(log, REQUEST, "c1")
    again = await asked(log, REQUEST, "c1")
    assert again.commit == first.commit
    assert await log.end() == 1


async def test_a_command_is_given_up_in_the_end() -> None:
    class Silent(Troubled):
        async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(LogUnavailable, match="no answer within"):
        await Dispatcher(Silent(), deadline=0.05)(REQUEST, context("c1"))


class JobTeleported(Event, tag="job.teleported"):
    """Something that a later version of ours may say."""

    job: str


async def test_nothing_is_decided_about_what_a_newer_version_wrote() -> None:
    log = MemoryLog()
    await asked(log, REQUEST, "c1")
    teleported: Sequence[AnyEvent] = [JobTeleported("j1")]  # type: ignore[list-item]
    await log.append(J1, head(await log.load(J1)), teleported, context("newer"))

    with pytest.raises(Rejected, match="newer version") as refused:
        await asked(log, CancelJob("j1"), "c2")

    with pytest.raises(LogUnavailable, match="newer version"):
        await Jobs(log)("default", "j1")
    assert refused.value.code == "newer_log"
    assert refused.value.details["remedy"]
    assert await log.end() == 2
