"""Ordering jobs: the requests that take two aggregates, the target's owner first.

The claim on the target comes before the job and holds all of its request, so a crash in between
leaves a claim from which anyone can make the job: the next who asks, or the dispatcher.
"""

from collections.abc import Sequence

import msgspec

from commands import job as jobs
from commands import weights
from schemas.job import (
    CancelJob,
    DeleteSpec,
    InstallSpec,
    Job,
    Order,
    RequestJob,
    RetryJob,
    VerifySpec,
)
from schemas.log import Commit, Dispatch, EventLog, Outcome, Stream
from schemas.message import Context, Rejected
from schemas.names import weights_id
from schemas.weights import ReleaseWeights, ReserveWeights, WeightsReserved

DELETE_KEY = "delete"


class Orders:
    """Orders, retries and settles jobs. Every method is idempotent by its context's command id."""

    def __init__(self, log: EventLog, dispatch: Dispatch) -> None:
        self._log = log
        self._dispatch = dispatch

    async def install(self, order: Order, context: Context) -> Outcome:
        """The job that brings this content to this target: a new one, or the one that already does.

        Raises `Rejected` with `conflict` when the target holds or awaits other content.
        """
        assert isinstance(order.spec, InstallSpec)
        return await self._claimed(order, order.spec.key, context)

    async def delete(self, order: Order, context: Context) -> Outcome:
        """Raises `Rejected`: `not_found`, or `conflict` while the weights are in use."""
        assert isinstance(order.spec, DeleteSpec)
        return await self._claimed(order, DELETE_KEY, context)

    async def verify(self, order: Order, context: Context) -> Outcome:
        """Raises `Rejected` with `not_found` when nothing is installed there."""
        assert isinstance(order.spec, VerifySpec)
        owner = await self._owner(order.target, context.namespace)
        if owner.installed is None:
            raise Rejected("not_found", f"no weights are installed as {order.target}")
        order = msgspec.structs.replace(order, store=owner.installed.store)
        return await self._request(order, context)

    async def retry(self, job: str, clean: bool, context: Context) -> Outcome:
        """Claim the target again, then let the job go on."""
        history = await self._log.load(Stream(context.namespace, jobs.decider.aggregate, job))
        state = jobs.decider.state(history)
        if state.status in ("failed", "cancelled") and not isinstance(state.spec, VerifySpec):
            key = state.spec.key if isinstance(state.spec, InstallSpec) else DELETE_KEY
            order = Order(job, state.target, state.store, state.priority, state.spec)
            holder = await self._claim(order, key, context)
            if holder != job:
                raise Rejected("conflict", f"job {holder} already brings this content", job=holder)
        return await self._dispatch(RetryJob(job, clean), context)

    async def cancel(self, job: str, keep_partial: bool, context: Context) -> Outcome:
        return await self._dispatch(CancelJob(job, keep_partial), context)

    async def complete_claim(self, claim: WeightsReserved, context: Context) -> Outcome:
        """Make the job of a claim, should it not exist yet."""
        order = Order(claim.job, claim.target, claim.store, claim.priority, claim.spec)
        return await self._request(order, context)

    async def settle(self, job: Job, context: Context) -> None:
        """End the claim of a job that has ended."""
        if job.ended and not isinstance(job.spec, VerifySpec):
            await self._dispatch(ReleaseWeights(job.target, job.id), _step(context, "release"))

    async def _claimed(self, order: Order, key: str, context: Context) -> Outcome:
        holder = await self._claim(order, key, context)
        if holder != order.id:
            order = msgspec.structs.replace(order, id=holder)
        return await self._request(order, context)

    async def _claim(self, order: Order, key: str, context: Context) -> str:
        """The job that holds the target for this content, after asking for `order` to."""
        command = ReserveWeights(
            order.target, order.id, key, order.store, order.priority, order.spec
        )
        step = _step(context, "reserve")
        try:
            outcome = await self._dispatch(command, step)
        except Rejected as refusal:
            if not await self._stale(refusal, context):
                raise
            outcome = await self._dispatch(command, step)
        else:
            holder = _holder(outcome)
            if holder == order.id or outcome.commit or not await self._over(holder, context):
                return holder
            outcome = await self._dispatch(command, _step(context, "reserve-again"))
        return _holder(outcome)

    async def _stale(self, refusal: Rejected, context: Context) -> bool:
        """Whether the target was refused for a claim whose job has ended: then it is released."""
        holder = refusal.details.get("job")
        return isinstance(holder, str) and await self._over(holder, context)

    async def _over(self, holder: str, context: Context) -> bool:
        history = await self._log.load(Stream(context.namespace, jobs.decider.aggregate, holder))
        state = jobs.decider.state(history)
        if state.status not in ("failed", "cancelled"):
            return False
        await self.settle(state, context)
        return True

    async def _request(self, order: Order, context: Context) -> Outcome:
        command = RequestJob(order.id, order.target, order.store, order.priority, order.spec)
        return await self._dispatch(command, _step(context, f"request-{order.id}"))

    async def _owner(self, target: str, namespace: str) -> weights.Weights:
        stream = Stream(namespace, weights.decider.aggregate, weights_id(target))
        return weights.decider.state(await self._log.load(stream))


def _holder(outcome: Outcome) -> str:
    """Which job the weights say brings, or brought, the content that was asked for."""
    if outcome.commit is not None and (job := _reserved(outcome.commit)):
        return job
    state = weights.decider.state(outcome.history)
    if state.claim is not None:
        return state.claim.job
    assert state.installed is not None
    return state.installed.job


def _reserved(commit: Commit) -> str:
    events: Sequence[object] = commit.events
    return next((event.job for event in events if isinstance(event, WeightsReserved)), "")


def _step(context: Context, step: str) -> Context:
    """One of the commands that a request takes, named after it so that it is granted once."""
    return msgspec.structs.replace(
        context,
        command=f"{context.command}/{step}",
        correlation=context.correlation or context.command,
        causation=context.causation or context.command,
    )
