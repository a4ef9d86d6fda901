"""Ordering jobs: the requests that take two aggregates, the target's owner first.

The claim on the target comes before the job and holds all of its request, so a crash in between
leaves a claim from which anyone can make the job, or retry it: the next who asks, or the
dispatcher. A claim is for one turn of its job, the first or a retry, and ends with that turn.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

import msgspec

from commands import job as jobs
from commands import weights
from commands.decider import granted
from commands.weights import Installed, Weights
from schemas.job import (
    CancelJob,
    CompleteJob,
    DeleteSpec,
    InstallSpec,
    Job,
    Order,
    RequestJob,
    RetryJob,
    StartAttempt,
    VerifySpec,
)
from schemas.log import Commit, Dispatch, EventLog, Outcome, Stream
from schemas.message import Command, Context, Rejected
from schemas.names import weights_id
from schemas.weights import (
    ReleaseWeights,
    ReserveWeights,
    WeightsInstalled,
    WeightsReserved,
)

DELETE_KEY = "delete"
ATTEMPTS = 4

Holder: TypeAlias = WeightsReserved | Installed
"""Who brings a content to a target, or brought it."""


class Orders:
    """Orders, retries and settles jobs. Every method is idempotent by its context's command id."""

    def __init__(self, log: EventLog, dispatch: Dispatch) -> None:
        self._log = log
        self._dispatch = dispatch

    async def install(self, order: Order, context: Context) -> Outcome:
        """The job that brings this content to this target: a new one, or the one that already does.

        Raises `Rejected`: `conflict` when the target holds or awaits other content, `no_space` when
        a new job would find too little.
        """
        assert isinstance(order.spec, InstallSpec)
        return await self._ordered(order, context)

    async def delete(self, order: Order, context: Context) -> Outcome:
        """Raises `Rejected`: `not_found`, or `conflict` while the weights are in use."""
        assert isinstance(order.spec, DeleteSpec)
        installed = (await self._owner(order.target, context)).installed
        if installed is not None:
            order = msgspec.structs.replace(order, store=installed.store)
        return await self._ordered(order, context)

    async def verify(self, order: Order, context: Context) -> Outcome:
        """Raises `Rejected` with `not_found` when nothing is installed there."""
        assert isinstance(order.spec, VerifySpec)
        installed = (await self._owner(order.target, context)).installed
        if installed is None:
            raise Rejected("not_found", f"no weights are installed as {order.target}")
        command = RequestJob(order.id, order.target, installed.store, order.priority, order.spec)
        return await self._dispatch(command, _step(context, f"request-{order.id}"))

    async def retry(self, job: str, clean: bool, context: Context) -> Outcome:
        """Claim the target again, then let the job go on."""
        for _ in range(ATTEMPTS):
            history = await self._history(job, context)
            if done := granted(history, context):
                return Outcome(history, done)
            try:
                return await self._retried(job, jobs.decider.state(history), clean, context)
            except Rejected as refusal:
                if refusal.code != "unclaimed":  # it has ended since we looked
                    raise
        raise Rejected("busy", f"job {job} kept changing")

    async def _retried(self, job: str, state: Job, clean: bool, context: Context) -> Outcome:
        if state.status not in ("failed", "cancelled") or isinstance(state.spec, VerifySpec):
            return await self._dispatch(RetryJob(job, clean), context)
        order = Order(job, state.target, state.store, state.priority, state.spec)
        turn = state.retries + 1
        holder = await self._claim(_reservation(order, turn, clean), context)
        if holder.job != job:
            raise Rejected(
                "conflict", f"job {holder.job} already brings this content", job=holder.job
            )
        return await self._dispatch(RetryJob(job, clean, turn), context)

    async def cancel(self, job: str, keep_partial: bool, context: Context) -> Outcome:
        return await self._dispatch(CancelJob(job, keep_partial), context)

    async def complete_claim(self, claim: WeightsReserved, context: Context) -> Outcome:
        """Make the job of a claim, or begin its next turn, should that not have happened yet."""
        await self._end_predecessor(claim, context)
        request = RequestJob(claim.job, claim.target, claim.store, claim.priority, claim.spec)
        outcome = await self._dispatch(request, _step(context, f"request-{claim.job}"))
        if jobs.decider.state(outcome.history).retries >= claim.turn:
            return outcome
        again = RetryJob(claim.job, claim.clean, claim.turn)
        return await self._dispatch(again, _step(context, f"retry-{claim.job}-{claim.turn}"))

    async def settle(self, job: Job, context: Context) -> None:
        """End the claim of a job that has ended."""
        if job.ended and not isinstance(job.spec, VerifySpec):
            await self._release(job, context)

    async def _end_predecessor(self, claim: WeightsReserved, context: Context) -> None:
        """Complete the job that let go of the target before, should its worker have died with the
        deed recorded and the job not: whoever went on with it would undo what comes now."""
        history = await self._claims(claim.target, context)
        current = weights.decider.state(history).claim
        if current is None or (current.job, current.turn) != (claim.job, claim.turn):
            return  # that turn is over, and its predecessor may be about something new
        before, done = _before(history, claim)
        if before is None or done is None or before.job == claim.job:
            return
        for _ in range(ATTEMPTS):
            job = jobs.decider.state(await self._history(before.job, context))
            if job.ended:
                return
            command: Command = CompleteJob(job.id, job.attempt, done.bytes, done.files)
            if job.status != "running":
                command = StartAttempt(job.id, job.attempt + 1, "orders")
            step = f"{type(command).__name__}-{job.id}-{job.attempt}"
            with suppress(Rejected):  # it moved: look again
                await self._dispatch(command, _step(context, step))
        raise Rejected("busy", f"job {before.job} is about to end")

    async def _ordered(self, order: Order, context: Context) -> Outcome:
        match await self._claim(_reservation(order), context):
            case WeightsReserved() as claim:
                return await self.complete_claim(claim, context)
            case Installed(job=job):
                return Outcome(await self._history(job, context), None)

    async def _claim(self, command: ReserveWeights, context: Context) -> Holder:
        """Who holds the target for this content, after asking for `command.job` to."""
        step = _step(context, "reserve")
        for _ in range(ATTEMPTS):
            try:
                outcome = await self._dispatch(command, step)
            except Rejected as refusal:
                holder = refusal.details.get("job")
                if not isinstance(holder, str) or not await self._over(holder, context):
                    raise
                continue
            found = _holder(outcome)
            if (
                outcome.commit is not None
                or isinstance(found, Installed)
                or found.job == command.job
                or not await self._over(found.job, context)
            ):
                return found
        raise Rejected("busy", f"{command.target} kept changing hands")

    async def _over(self, holder: str, context: Context) -> bool:
        """Whether a claim is that of a job that has ended. Then it is released."""
        state = jobs.decider.state(await self._history(holder, context))
        return state.ended and await self._release(state, context)

    async def _release(self, job: Job, context: Context) -> bool:
        """Whether the claim is not the job's any more."""
        command = ReleaseWeights(job.target, job.id, job.retries)
        step = _step(context, f"release-{secrets.token_hex(8)}")
        outcome = await self._dispatch(command, step)
        claim = weights.decider.state(outcome.history).claim
        return claim is None or claim.job != job.id

    async def _owner(self, target: str, context: Context) -> Weights:
        """Who says what may be done to a target."""
        return weights.decider.state(await self._claims(target, context))

    async def _claims(self, target: str, context: Context) -> Sequence[Commit]:
        stream = Stream(context.namespace, weights.decider.aggregate, weights_id(target))
        return await self._log.load(stream, fresh=True)

    async def _history(self, job: str, context: Context) -> tuple[Commit, ...]:
        stream = Stream(context.namespace, jobs.decider.aggregate, job)
        return tuple(await self._log.load(stream, fresh=True))


def _reservation(order: Order, turn: int = 0, clean: bool = False) -> ReserveWeights:
    key = order.spec.key if isinstance(order.spec, InstallSpec) else DELETE_KEY
    return ReserveWeights(
        order.target,
        order.id,
        key,
        order.store,
        order.priority,
        order.spec,
        turn,
        clean,
        order.disk,
    )


def _holder(outcome: Outcome) -> Holder:
    """Which job the weights say brings, or brought, the content that was asked for."""
    if outcome.commit is not None:
        reserved = (e for e in outcome.commit.events if isinstance(e, WeightsReserved))
        if claim := next(reserved, None):
            return claim
    state = weights.decider.state(outcome.history)
    holder = state.claim or state.installed
    assert holder is not None
    return holder


def _before(
    history: Sequence[Commit], claim: WeightsReserved
) -> tuple[WeightsReserved | None, WeightsInstalled | None]:
    """The claim that `claim` followed, and what was last installed until then."""
    before: WeightsReserved | None = None
    installed: WeightsInstalled | None = None
    for event in (event for commit in history for event in commit.events):
        if isinstance(event, WeightsInstalled):
            installed = event
        elif isinstance(event, WeightsReserved):
            if (event.job, event.turn) == (claim.job, claim.turn):
                break
            before = event
    return before, installed


def _step(context: Context, step: str) -> Context:
    """One of the commands that a request takes, named after it so that it is granted once."""
    return msgspec.structs.replace(
        context,
        command=f"{context.command}/{step}",
        correlation=context.correlation or context.command,
        causation=context.causation or context.command,
    )
