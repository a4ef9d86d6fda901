"""What the gateway is handed. It imports nobody who provides these."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

import msgspec
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from psycopg import AsyncConnection

from schemas.idempotency import IdempotencyKeys
from schemas.job import Order
from schemas.live import JobLogs, LiveState
from schemas.log import Dispatch, EventLog, Outcome
from schemas.message import Context
from schemas.plan import Planner
from schemas.secrets import Secrets

Db: TypeAlias = AsyncConnection[Any]
Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Db]]


class Orders(Protocol):
    """Requests that take more than one aggregate. The outcome's history is the job's.

    Every method raises `Rejected` and `LogUnavailable`.
    """

    async def install(self, order: Order, context: Context) -> Outcome: ...

    async def delete(self, order: Order, context: Context) -> Outcome: ...

    async def verify(self, order: Order, context: Context) -> Outcome: ...

    async def retry(self, job: str, clean: bool, context: Context) -> Outcome: ...

    async def cancel(self, job: str, keep_partial: bool, context: Context) -> Outcome: ...


class Ports(msgspec.Struct, frozen=True):
    """Everything the application needs from outside, in one place."""

    log: EventLog
    dispatch: Dispatch
    orders: Orders
    planner: Planner
    secrets: Secrets
    keys: IdempotencyKeys
    live: LiveState
    job_logs: JobLogs
    connect: Connect
    epoch: Callable[[], str]
    version: str
    runtime: str = "process"


Handed: TypeAlias = NamedDependency[SkipValidation[Ports]]
"""The ports, as a route asks for them."""
