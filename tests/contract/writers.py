"""Writers who insist: each asks for the same thing until it is told that it happened."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from commands.decider import Decider, handle
from schemas.job import AGGREGATE, JobEvent, JobProgress, ReportProgress
from schemas.log import Commit, EventLog, LogUnavailable, broken_link
from schemas.message import Rejected
from tests.contract.logs import context, read

SHARED = "shared"


def decide(said: int, command: ReportProgress) -> Sequence[JobEvent]:
    """Commits of one to five events."""
    return [JobProgress(command.job, 1, "fetch", said + n) for n in range(said % 5 + 1)]


def evolve(said: int, _: JobEvent) -> int:
    return said + 1


chatter = Decider(AGGREGATE, 0, decide, evolve, lambda command: command.job)


async def insist(log: EventLog, job: str, command: str) -> Commit:
    """The commit that granted the command in the end."""
    said = context(command)
    while True:
        try:
            outcome = await handle(log, chatter, ReportProgress(job, 1, "fetch"), said)
        except LogUnavailable:
            await asyncio.sleep(0.05)
        except Rejected as refusal:
            if refusal.code != "busy":
                raise
        else:
            assert outcome.commit is not None
            return outcome.commit


async def write(log: EventLog, writer: int, trouble: asyncio.Task[None]) -> Mapping[str, Commit]:
    """Write by turns to an aggregate of one's own and to the one that all writers share."""
    granted: dict[str, Commit] = {}
    while not trouble.done() or len(granted) < 2:
        command = f"w{writer}/{len(granted)}"
        job = SHARED if len(granted) % 2 else f"own{writer}"
        granted[command] = await insist(log, job, command)
    return granted


async def write_through(
    log: EventLog, trouble: Coroutine[Any, Any, None], writers: int = 8
) -> Mapping[str, Commit]:
    """What all writers were told has happened, once the trouble is over."""
    task = asyncio.create_task(trouble)
    granted: dict[str, Commit] = {}
    for mine in await asyncio.gather(*(write(log, n, task) for n in range(writers))):
        granted |= mine
    await task
    return granted


async def check(log: EventLog, granted: Mapping[str, Commit]) -> None:
    """Everything that was acknowledged is there, once, in one unbroken whole."""
    commits = await read(log, 0, await log.end())
    assert [commit.position for commit in commits] == list(range(1, len(commits) + 1))
    assert sorted(commit.command for commit in commits) == sorted(granted)
    assert {commit.command: commit for commit in commits} == granted
    assert broken_link(commits) is None
