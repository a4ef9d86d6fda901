"""What the gateway is handed. It imports nobody who provides these."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from projections.checkpoints import Connect
from schemas.advice import Advisor
from schemas.catalog import ModelChange
from schemas.checks import Inspector
from schemas.idempotency import IdempotencyKeys
from schemas.job import Order
from schemas.live import Endpoint, JobLogs, LiveState
from schemas.log import Dispatch, EventLog, Outcome
from schemas.manifest import Manifest
from schemas.message import Context
from schemas.plan import Planner
from schemas.runtime import DeactivateSlot, PromoteCandidate, RollBack, ScaleSlot, Wish
from schemas.secrets import Secrets
from schemas.weights import Holdings
from schemas.workloads import Workloads

EngineKey: TypeAlias = Callable[[Endpoint], str]


def keyless(endpoint: Endpoint) -> str:
    return ""


class Orders(Protocol):
    """Requests that take more than one aggregate. The outcome's history is the job's.

    Every method raises `Rejected` and `LogUnavailable`.
    """

    async def install(self, order: Order, context: Context) -> Outcome: ...

    async def delete(self, order: Order, context: Context) -> Outcome: ...

    async def verify(self, order: Order, context: Context) -> Outcome: ...

    async def retry(self, job: str, clean: bool, context: Context) -> Outcome: ...

    async def cancel(self, job: str, keep_partial: bool, context: Context) -> Outcome: ...


class Catalog(Protocol):
    """Requests about models that take more than one aggregate.

    Every method raises `Rejected` and `LogUnavailable`.
    """

    async def apply(self, manifest: Manifest, context: Context) -> ModelChange: ...

    async def foresee(self, manifest: Manifest, context: Context) -> ModelChange: ...

    async def delete(self, model: str, context: Context) -> Outcome: ...

    async def alias(self, alias: str, model: str | None, context: Context) -> Outcome: ...


class Activations(Protocol):
    """Requests about slots. The outcome's history is the slot's.

    Every method raises `Rejected` and `LogUnavailable`.
    """

    async def activate(self, wish: Wish, context: Context) -> Outcome: ...

    async def roll_back(self, command: RollBack, context: Context) -> Outcome: ...

    async def deactivate(self, command: DeactivateSlot, context: Context) -> Outcome: ...

    async def promote(self, command: PromoteCandidate, context: Context) -> Outcome: ...

    async def scale(self, command: ScaleSlot, context: Context) -> Outcome: ...


class Ports(msgspec.Struct, frozen=True):
    """Everything the application needs from outside, in one place. `most_replicas` is what the
    runtime can have of one model; `engine_key` what an engine has to be shown, or nothing."""

    log: EventLog
    dispatch: Dispatch
    orders: Orders
    catalog: Catalog
    activations: Activations
    holdings: Holdings
    inspector: Inspector
    workloads: Workloads
    advisor: Advisor
    planner: Planner
    secrets: Secrets
    keys: IdempotencyKeys
    live: LiveState
    job_logs: JobLogs
    connect: Connect
    epoch: Callable[[], str]
    version: str
    runtime: str = "process"
    most_replicas: int = 1
    engine_key: EngineKey = keyless


Handed: TypeAlias = NamedDependency[SkipValidation[Ports]]
"""The ports, as a route asks for them."""
