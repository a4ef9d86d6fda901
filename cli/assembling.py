"""What every role is made of: connections, and the ports on them. Put together in one place."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from nats.aio.client import Client
from psycopg import Error as PostgresError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from cli import streams
from cli.connecting import nats_connection, postgres_pool
from cli.embedded.status import read_status
from cli.failures import Misused
from cli.observed import ObservedLog
from cli.settings import Settings
from cli.streams import Names
from commands.dispatch import Dispatcher
from commands.jetstream import JetStreamLog
from commands.ordering import Orders
from processors.job_logs import Logs
from processors.live import Live
from processors.secrets import FileSecrets, PostgresSecrets
from processors.store import Store
from projections.migrations import SchemaMismatch, check
from schemas.log import EventLog
from schemas.secrets import Secrets

logger = logging.getLogger(__name__)


class Parts(msgspec.Struct, frozen=True):
    """What every role is made of: its connections, and the ports on them."""

    settings: Settings
    nats: Client
    names: Names
    jetstream: JetStreamLog
    log: EventLog
    dispatch: Dispatcher
    orders: Orders
    pool: AsyncConnectionPool[Any]
    live: Live
    logs: Logs
    secrets: Secrets


@asynccontextmanager
async def assemble(settings: Settings, role: str) -> AsyncGenerator[Parts]:
    """Connect, check that `mllm migrate` has been here, and put the ports together."""
    settings.require("nats_url", "database_url")
    called = streams.names(settings.stream_prefix)
    async with (
        nats_connection(settings.nats_url, f"mllm-{role}") as nats,
        postgres_pool(settings.database_url) as pool,
    ):
        await streams.check(nats, settings.stream_prefix)
        await check_tables(pool)
        jetstream = JetStreamLog(nats, called.log)
        await jetstream.start()
        log = ObservedLog(jetstream)
        dispatch = Dispatcher(log)
        yield Parts(
            settings=settings,
            nats=nats,
            names=called,
            jetstream=jetstream,
            log=log,
            dispatch=dispatch,
            orders=Orders(log, dispatch),
            pool=pool,
            live=Live(nats, called.live),
            logs=Logs(nats, called.job_logs),
            secrets=secrets_of(settings, pool),
        )
        await jetstream.stop()


async def check_tables(pool: AsyncConnectionPool[Any]) -> None:
    """Raises `Misused` for tables of another version. Without Postgres a role starts all the same:
    commands and the live stream do not need it."""
    try:
        async with pool.connection() as db:
            await check(db)
    except SchemaMismatch as error:
        raise Misused(str(error), "run: mllm migrate") from error
    except (PostgresError, PoolTimeout, OSError) as error:
        logger.warning("Postgres does not answer; going on without it: %s", error)


def secrets_of(settings: Settings, pool: AsyncConnectionPool[Any]) -> Secrets:
    """Rows in Postgres, sealed with the key; files where there is none and one machine has it all.

    On servers files would be somebody else's on every machine, and plain.
    """
    if not settings.secret_key and embedded(settings):
        return FileSecrets(settings.data_dir / "secrets")
    return PostgresSecrets(pool.connection, settings.secret_key)


def store_of(settings: Settings) -> Store:
    """The volume of this machine's weights, where log and database may be beside it."""
    beside = (settings.data_dir,) if embedded(settings) else ()
    return Store(settings.store, settings.weights_dir, settings.disk_reserve, beside)


def embedded(settings: Settings) -> bool:
    """Whether the servers are those that `mllm up` runs on the data directory."""
    try:
        status = read_status(settings.data_dir)
    except OSError:
        return False
    return status is not None and status.database == settings.database_url
