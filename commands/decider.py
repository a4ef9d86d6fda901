"""Decisions as three pure functions, and the one loop that carries them out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import repeat
from typing import Generic, TypeVar

from schemas.log import (
    Ambiguous,
    AnyEvent,
    Commit,
    Conflict,
    EventLog,
    LogUnavailable,
    Outcome,
    Stream,
    head,
)
from schemas.message import Command, Context, Rejected
from schemas.upcasting import UnknownEvent

S = TypeVar("S")
C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=AnyEvent)

ATTEMPTS = 4


@dataclass(frozen=True)
class Decider(Generic[S, C, E]):
    """One aggregate: what it starts as, what it allows, and what its events mean.

    `by_last`: its last commit alone says what it is, so that the others need not be read. Commands
    are then told from those granted before by what they ask for, unless they were the last.
    """

    aggregate: str
    initial: S
    decide: Callable[[S, C], Sequence[E]]
    evolve: Callable[[S, E], S]
    id: Callable[[C], str]
    by_last: bool = False

    def fold(self, events: Iterable[E]) -> S:
        return reduce(self.evolve, events, self.initial)

    def state(self, history: Iterable[Commit]) -> S:
        """What the aggregate has become through `history`.

        Raises `Rejected` with `newer_log` when a newer build than this one has written there:
        what is not understood is not decided about.
        """
        events = (event for commit in history for event in commit.events)
        try:
            return self.fold(events)  # type: ignore[arg-type]  # a stream holds its own events only
        except UnknownEvent as error:
            remedy = "run the newest version of mllm that has written to this log"
            raise Rejected("newer_log", str(error), remedy=remedy) from error


async def handle(log: EventLog, decider: Decider[S, C, E], command: C, context: Context) -> Outcome:
    """Load, fold, decide, append; begin again if the stream moved or the answer was lost.

    Nothing is refused, and nothing counts as done already, but on a fresh history: a replica of
    the log may not have heard yet of what makes the difference.

    Raises `Rejected` (`busy` when the stream never stood still), or `LogUnavailable`: then the
    command may have been granted all the same, and asking again with the same id finds out.
    """
    stream = Stream(context.namespace, decider.aggregate, decider.id(command))
    doubt: Conflict | Ambiguous | None = None
    for fresh in (False, *repeat(True, ATTEMPTS)):
        history = await _read(log, stream, by_last=decider.by_last, fresh=fresh)
        if done := granted(history, context):
            return Outcome(history, done)
        try:
            events = decider.decide(decider.state(history), command)
        except Rejected:
            if fresh:
                raise
            continue
        if events:
            try:
                commit = await log.append(stream, head(history), events, context)
                return Outcome((*history, commit), commit)
            except (Conflict, Ambiguous) as error:
                doubt = error
        elif fresh:
            return Outcome(history, None)
    if isinstance(doubt, Ambiguous):
        raise LogUnavailable(str(doubt)) from doubt
    raise Rejected("busy", f"{stream} kept moving through {ATTEMPTS} attempts") from doubt


async def _read(log: EventLog, stream: Stream, *, by_last: bool, fresh: bool) -> tuple[Commit, ...]:
    """Of a history, as much as is needed to decide."""
    if not by_last:
        return tuple(await log.load(stream, fresh=fresh))
    last = await log.last(stream, fresh=fresh)
    return (last,) if last is not None else ()


def granted(history: Sequence[Commit], context: Context) -> Commit | None:
    """The commit that carried out this very command before, if it was asked twice."""
    return next((commit for commit in history if commit.command == context.command), None)
