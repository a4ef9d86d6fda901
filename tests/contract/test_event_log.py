"""What every event log promises: in memory, on one server, on a cluster."""

import asyncio
from contextlib import aclosing
from datetime import timedelta, timezone
from itertools import product

import msgspec
import pytest

from commands.decider import handle
from commands.job import decider
from processors.ending import end
from schemas.job import CancelJob, JobProgress, PauseJob, RequestJob, VerifySpec
from schemas.log import MAX_COMMIT_BYTES, Commit, Conflict, EventLog, Head, broken_link, head
from schemas.message import Context, Rejected
from tests.contract.logs import START, STARTED, context, following, progress, read, stream
from tests.support import PATIENCE, eventually

J1, J2 = stream("j1"), stream("j2")
SLY = (
    "a\r\nNats-Rollup: all",
    "a\nMllm-Actor: root",
    "\r\n\r\n",
    "\x00\x1b[2J",
    "\u2028",
    "%0d%0a",
    "a@b@c",
)


@pytest.mark.parametrize("events", [1, 2, 3, 4, 5])
async def test_what_is_appended_together_is_loaded_together(log: EventLog, events: int) -> None:
    said = progress(events)
    commit = await log.append(J1, Head(), said, context("c1"))

    [loaded] = await log.load(J1, fresh=True)

    assert loaded == commit
    assert loaded.events == tuple(said)
    assert loaded.types == ("job.progress",) * events


async def test_an_aggregate_that_never_was_has_no_history(log: EventLog) -> None:
    assert list(await log.load(J1)) == []
    assert list(await log.load(J1, fresh=True)) == []
    assert await log.end() == 0


async def test_the_last_of_a_history_is_read_alone(log: EventLog) -> None:
    assert await log.last(J1) is None
    assert await log.last(J1, fresh=True) is None
    written = await several(log, 3)
    other = await log.append(J2, Head(), [STARTED], context("c9", actor=SLY[0]))

    assert await log.last(J1, fresh=True) == written[-1]
    assert await log.last(J2, fresh=True) == other

    async def heard() -> bool:  # a replica may be behind
        return (await log.last(J1), await log.last(J2)) == (written[-1], other)

    await eventually(heard)


async def test_a_history_is_loaded_in_the_order_it_happened(log: EventLog) -> None:
    written = await several(log, 7)

    assert list(await log.load(J1, fresh=True)) == written

    async def loaded() -> bool:  # a replica may be behind
        return list(await log.load(J1)) == written

    await eventually(loaded)
    assert [commit.position for commit in written] == list(range(1, 8))
    assert await log.end() == 7


async def test_appending_behind_someone_else_conflicts(log: EventLog) -> None:
    first = await log.append(J1, Head(), [STARTED], context("c1"))
    await log.append(J1, head([first]), [STARTED], context("c2"))

    for stale in (Head(), head([first]), Head(99)):
        with pytest.raises(Conflict):
            await log.append(J1, stale, [STARTED], context("c3"))

    assert len(await log.load(J1, fresh=True)) == 2


async def test_of_several_who_append_at_once_one_is_first(log: EventLog) -> None:
    async def attempt(n: int) -> bool:
        try:
            await log.append(J1, Head(), progress(1, n), context(f"c{n}"))
        except Conflict:
            return False
        return True

    granted = await asyncio.gather(*(attempt(n) for n in range(8)))

    assert granted.count(True) == 1
    assert len(await log.load(J1, fresh=True)) == 1


async def test_aggregates_do_not_stand_in_each_others_way(log: EventLog) -> None:
    others = [
        J2,
        stream("j1", namespace="other"),
        stream("j1", aggregate="weights"),
        stream("j1x"),
    ]
    for number, other in enumerate([J1, *others]):
        await log.append(other, Head(), [STARTED], context(f"c{number}"))

    assert [len(await log.load(one, fresh=True)) for one in (J1, *others)] == [1] * 5
    assert (await log.load(others[1], fresh=True))[0].stream == others[1]


async def test_who_said_it_and_why_comes_back_as_it_was_said(log: EventLog) -> None:
    said = Context(
        command="01J00000000000000000000001/reserve",
        at=START.replace(microsecond=123456, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        actor="Zoë 漢字 🦙",
        correlation="100%25 of it",
        causation=" spaces around ",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    commit = await log.append(J1, Head(), [STARTED], said)

    [loaded] = await log.load(J1, fresh=True)

    assert loaded == commit
    told = [getattr(loaded, field) for field in said.__struct_fields__ if field != "namespace"]
    assert told == [said.command, said.at, said.actor, *msgspec.structs.astuple(said)[4:]]


async def test_nothing_that_is_said_becomes_a_header_of_its_own(log: EventLog) -> None:
    history: list[Commit] = []
    for text in SLY:
        said = context(text, actor=text, correlation=text, causation=text, traceparent=text)
        history.append(await log.append(J1, head(history), [STARTED], said))

    loaded = await log.load(J1, fresh=True)

    assert list(loaded) == history
    for text, commit in zip(SLY, loaded, strict=True):
        assert (commit.command, commit.actor, commit.correlation) == (text, text, text)
        assert (commit.causation, commit.traceparent) == (text, text)


async def test_what_began_with_a_command_is_correlated_by_it(log: EventLog) -> None:
    commit = await log.append(J1, Head(), [STARTED], context("c1"))
    assert commit.correlation == "c1"
    assert (commit.causation, commit.traceparent) == ("", "")


async def test_each_commit_carries_the_hash_of_the_one_before_it(log: EventLog) -> None:
    await several(log, 5)

    history = await log.load(J1, fresh=True)

    assert [commit.previous for commit in history[1:]] == [commit.hash for commit in history[:-1]]
    assert history[0].previous == ""
    assert broken_link(history) is None


async def test_what_could_name_several_histories_names_none(log: EventLog) -> None:
    for field, name in product(J1._fields, ("", "*", ">", "a.b", "a b", "a\n", "é", "a*", "a/b")):
        several_at_once = J1._replace(**{field: name})
        with pytest.raises(Rejected, match="does not name one history") as refused:
            await log.load(several_at_once)
        assert refused.value.code == "invalid"
        with pytest.raises(Rejected):
            await log.append(several_at_once, Head(), [STARTED], context("c1"))
    assert await log.end() == 0


async def test_a_commit_is_neither_empty_nor_endless(log: EventLog) -> None:
    full = MAX_COMMIT_BYTES - len(msgspec.json.encode([JobProgress("", 1, "fetch")]))
    await log.append(J1, Head(), [JobProgress("x" * full, 1, "fetch")], context("c1"))

    for events in ([], [JobProgress("x" * (full + 1), 1, "fetch")]):
        with pytest.raises(ValueError, match="do not make a commit"):
            await log.append(J2, Head(), events, context("c2"))
    assert await log.end() == 1


async def test_commits_are_fetched_by_position_in_the_order_asked(log: EventLog) -> None:
    written = await several(log, 4)

    async def fetched() -> bool:  # a replica may be behind
        return list(await log.fetch([3, 1])) == [written[2], written[0]] and list(
            await log.fetch([0, 2, 99, -1])
        ) == [written[1]]

    await eventually(fetched)
    assert list(await log.fetch([])) == []


async def test_a_follower_hears_everything_in_order_and_then_waits(log: EventLog) -> None:
    written = await several(log, 5)
    heard: list[Commit] = []
    complete = asyncio.Event()

    async def listen() -> None:
        async with aclosing(following(log, 0)) as batches:
            async for batch in batches:
                heard.extend(batch)
                if heard[-1].position == 8:
                    complete.set()

    listener = asyncio.create_task(listen())
    for number in range(3):
        commit = await log.append(
            stream(f"other{number}"), Head(), progress(number + 1), context(f"o{number}")
        )
        written.append(commit)
    async with asyncio.timeout(PATIENCE):
        await complete.wait()
    await end(listener)

    assert heard == written


async def test_a_follower_goes_on_from_any_position(log: EventLog) -> None:
    written = await several(log, 5)
    for after in range(5):
        assert await read(log, after, 5) == written[after:]


async def test_followers_do_not_take_from_each_other(log: EventLog) -> None:
    written = await several(log, 5)
    heard = await asyncio.gather(*(read(log, after, 5) for after in (0, 0, 3)))
    assert heard == [written, written, written[3:]]


async def test_a_command_asked_twice_is_granted_once(log: EventLog) -> None:
    request = RequestJob("j1", "org/model", "s1", 1, VerifySpec())
    first = await handle(log, decider, request, context("c1"))
    await handle(log, decider, PauseJob("j1"), context("c2"))

    async def told_all() -> bool:  # a replica may be behind
        again = await handle(log, decider, request, context("c1"))
        assert again.commit == first.commit
        return [commit.command for commit in again.history] == ["c1", "c2"]

    await eventually(told_all)
    assert await log.end() == 2


async def test_a_command_asked_twice_at_once_is_granted_once(log: EventLog) -> None:
    request = RequestJob("j1", "org/model", "s1", 1, VerifySpec())
    said = context("c1")

    outcomes = await asyncio.gather(*(handle(log, decider, request, said) for _ in range(4)))

    assert await log.end() == 1
    assert {outcome.position for outcome in outcomes} == {1}
    assert all(outcome.commit == outcomes[0].commit for outcome in outcomes)


async def test_a_command_that_changes_nothing_leaves_nothing(log: EventLog) -> None:
    request = RequestJob("j1", "org/model", "s1", 1, VerifySpec())
    await handle(log, decider, request, context("c1"))

    outcome = await handle(log, decider, request, context("c2"))

    assert outcome.commit is None
    assert outcome.position == 1
    assert await log.end() == 1


async def test_a_command_that_is_refused_leaves_nothing(log: EventLog) -> None:
    with pytest.raises(Rejected, match="no job"):
        await handle(log, decider, CancelJob("j1"), context("c1"))
    assert await log.end() == 0


async def several(log: EventLog, commits: int) -> list[Commit]:
    """One aggregate's history: commits of one event, of two, and so on up to five."""
    history: list[Commit] = []
    for number in range(commits):
        events = progress(number % 5 + 1, number)
        history.append(await log.append(J1, head(history), events, context(f"c{number}")))
    return history
