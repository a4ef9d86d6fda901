"""`mllm migrate`: the one verb that creates or changes streams, consumers and tables."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from psycopg import AsyncConnection, OperationalError

from cli import streams, telemetry
from cli.config import read_settings
from cli.connecting import nats_connection
from cli.failures import Misused, OutOfReach
from cli.settings import Settings
from commands.dispatch import Dispatcher
from commands.jetstream import JetStreamLog
from processors.secrets import TABLE
from projections.migrations import SchemaMismatch
from projections.migrations import migrate as migrate_tables
from schemas.bearer import token_id_and_hash
from schemas.message import Context, Rejected
from schemas.names import ALL, SYSTEM
from schemas.token import IssueToken

MOST_REPLICAS = 5
"""As many as NATS keeps of a stream."""

Replicas = Annotated[int, Parameter(validator=Number(gte=1, lte=MOST_REPLICAS))]


def migrate(*, store: Sequence[str] = (), replicas: Replicas = 1) -> None:
    """Create or change streams, consumers and tables for this version.

    Parameters
    ----------
    store
        A weights volume that workers mount; may be given several times. MLLM_STORE by default.
    replicas
        On how many NATS servers new streams are kept: 3 on a cluster.
    """
    settings = read_settings({})
    stores = [read_settings({"store": one}).store for one in store]
    settings.require("nats_url", "database_url")
    telemetry.configure(settings, "migrate")
    asyncio.run(everything(settings, stores or [settings.store], replicas))
    print("streams, consumers and tables are up to date")


async def everything(settings: Settings, stores: Sequence[str], replicas: int = 1) -> None:
    """Migrate both servers; the first administrator's token is made valid. Raises `Failure`."""
    async with nats_connection(settings.nats_url, "mllm-migrate") as nats:
        await streams.migrate(
            nats,
            settings.stream_prefix,
            stores=stores,
            lease=settings.lease_seconds,
            replicas=replicas,
        )
        await tables(settings.database_url)
        if settings.api_token:
            log = JetStreamLog(nats, streams.names(settings.stream_prefix).log)
            await log.start()
            await admit(Dispatcher(log), settings.api_token)
            await log.stop()


async def tables(url: str) -> None:
    try:
        async with await AsyncConnection.connect(url, autocommit=True) as db:
            await migrate_tables(db)
            await db.execute(TABLE)
    except SchemaMismatch as error:
        raise Misused(str(error), "run the mllm version that migrated it") from error
    except OperationalError as error:
        raise OutOfReach("Postgres does not answer", "check MLLM_DATABASE_URL") from error


async def admit(dispatch: Dispatcher, bearer: str) -> None:
    """Issue the token that the installation was given, once. Raises `Misused` for a weak one."""
    if len(bearer) < 16:
        raise Misused("MLLM_API_TOKEN is too short", "use at least 16 random characters")
    token, digest = token_id_and_hash(bearer)
    command = IssueToken(token, "first administrator", digest, ("admin",), (ALL,))
    name = hashlib.sha256(f"first administrator {token} {digest}".encode()).hexdigest()
    context = Context(
        command=name, at=datetime.now(UTC), actor="migrate", namespace=SYSTEM, correlation=name
    )
    try:
        await dispatch(command, context)
    except Rejected as refusal:
        raise Misused(f"MLLM_API_TOKEN can not be used: {refusal}", "choose another") from refusal
