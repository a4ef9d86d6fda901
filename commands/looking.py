"""What an aggregate is now, for those who act on it: folded from the log, never from a table."""

from collections.abc import Sequence
from typing import Protocol

from commands import job as jobs
from commands import runtime
from schemas.job import JobStarted, Seen
from schemas.log import Commit, EventLog, LogUnavailable, Stream
from schemas.message import Rejected
from schemas.runtime import ActivationRequested, DeactivationStarted, SeenSlot


class Directory(Protocol):
    async def ids(self, aggregate: str) -> Sequence[tuple[str, str]]:
        """Namespace and id of every aggregate of a family that has a history.

        Raises `LogUnavailable`.
        """
        ...


class Jobs:
    """A `Look` on a log. What a newer build has written is as good as a log that is away: whoever
    looks leaves it to somebody who understands it."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def __call__(self, namespace: str, job: str) -> Seen:
        history = await self._log.load(Stream(namespace, jobs.decider.aggregate, job), fresh=True)
        try:
            state = jobs.decider.state(history)
        except Rejected as refusal:
            raise LogUnavailable(str(refusal)) from refusal
        started = [c.at for c in history for event in c.events if isinstance(event, JobStarted)]
        return Seen(
            job=state,
            position=history[-1].position if history else 0,
            started_at=started[-1] if started else None,
            correlation=history[0].correlation if history else "",
            traceparent=history[0].traceparent if history else "",
        )


class SlotsOnLog:
    """`Slots` on a log; `directory` knows which there are."""

    def __init__(self, log: EventLog, directory: Directory) -> None:
        self._log = log
        self._directory = directory

    async def __call__(self, namespace: str, slot: str) -> SeenSlot:
        return seen_slot(namespace, await slot_history(self._log, namespace, slot))

    async def all(self) -> list[tuple[str, str]]:
        return list(await self._directory.ids(runtime.decider.aggregate))


async def slot_history(log: EventLog, namespace: str, slot: str) -> tuple[Commit, ...]:
    """Raises `LogUnavailable`."""
    stream = Stream(namespace, runtime.decider.aggregate, slot)
    return tuple(await log.load(stream, fresh=True))


def seen_slot(namespace: str, history: Sequence[Commit]) -> SeenSlot:
    """A slot as its history says; in the course of events that its last request began.

    Raises `Rejected` with `newer_log`.
    """
    state = runtime.decider.state(history)
    last = history[-1] if history else None
    request = next(filter(_requests, reversed(history)), last)
    return SeenSlot(
        namespace=namespace,
        state=state,
        position=last.position if last else 0,
        requested_at=request.at if request and state.flight else None,
        correlation=request.correlation if request else "",
        traceparent=request.traceparent if request else "",
    )


def _requests(commit: Commit) -> bool:
    return any(
        isinstance(event, ActivationRequested | DeactivationStarted) for event in commit.events
    )
