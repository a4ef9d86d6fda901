"""Connections to NATS and Postgres, with the manners every role needs."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from cli.failures import OutOfReach

FIRST_SECONDS = 10.0
"""How long a server may take to be there to begin with."""

logger = logging.getLogger(__name__)


@asynccontextmanager
async def nats_connection(
    url: str, name: str, patience: float = FIRST_SECONDS
) -> AsyncGenerator[Client]:
    """A connection that comes back for ever, and says why when it is refused something.

    Should the client close it for good all the same, the process is asked to leave: whoever started
    it starts it again. Raises `OutOfReach` when there is no server to begin with, for `patience`
    seconds.
    """
    why, connected, leaving = "it took too long", False, False

    async def complain(error: Exception) -> None:
        nonlocal why
        why = str(error) or type(error).__name__
        if connected:  # a denied publish shows nowhere else: its request only times out
            logger.warning("NATS: %s", why)

    async def lost() -> None:
        if connected and not leaving:
            logger.warning("NATS is away; reconnecting")

    async def back() -> None:
        logger.info("NATS is back")

    async def closed() -> None:
        if connected and not leaving:
            logger.error("NATS closed the connection for good; leaving, to be started again")
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        async with asyncio.timeout(patience):
            connection = await nats.connect(
                url,
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.25,
                ping_interval=10,
                max_outstanding_pings=2,
                connect_timeout=5,
                allow_reconnect=True,
                error_cb=complain,
                disconnected_cb=lost,
                reconnected_cb=back,
                closed_cb=closed,
            )
    except (OSError, TimeoutError, NatsError) as error:
        raise OutOfReach(f"NATS does not answer: {why}", "check MLLM_NATS_URL") from error
    connected = True
    try:
        yield connection
    finally:
        leaving = True
        await connection.close()


@asynccontextmanager
async def postgres_pool(url: str, most: int = 10) -> AsyncGenerator[AsyncConnectionPool[Any]]:
    """Connections that are opened when needed: a role starts, and lives, without Postgres."""
    pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
        url,
        min_size=0,
        max_size=most,
        timeout=3,
        max_idle=60,
        reconnect_timeout=5,
        # autocommit: a transaction exists exactly where the code says `db.transaction()`
        kwargs={"autocommit": True, "connect_timeout": 3},
        check=AsyncConnectionPool.check_connection,
        open=False,
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()
