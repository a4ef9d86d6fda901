"""The gateway: HTTP on ports that are put together here."""

from typing import Any, cast

import uvicorn

from cli.assembling import Parts, assemble
from cli.settings import Settings
from cli.version import VERSION
from commands.idempotency import Keys
from gateway.app import create_app
from gateway.ports import Ports
from processors.hub import Hub
from processors.planner import HubPlanner

GRACE_SECONDS = 3


async def serve(settings: Settings) -> None:
    """Answer requests until told to stop."""
    async with assemble(settings, "gateway") as parts:
        application = create_app(await ports(parts))
        config = uvicorn.Config(
            cast(Any, application),
            host=settings.host,
            port=settings.port,
            http="httptools",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=4096,
        )
        await uvicorn.Server(config).serve()


async def ports(parts: Parts) -> Ports:
    """What the gateway is handed."""
    settings = parts.settings
    epoch = await parts.jetstream.epoch()
    hub = Hub(settings.hf_endpoint, settings.hf_token)
    return Ports(
        log=parts.log,
        dispatch=parts.dispatch,
        orders=parts.orders,
        planner=HubPlanner(hub, parts.live, parts.secrets, settings.store),
        secrets=parts.secrets,
        keys=Keys(parts.nats, parts.names.keys),
        live=parts.live,
        job_logs=parts.logs,
        connect=parts.pool.connection,
        epoch=lambda: epoch,
        version=VERSION,
        runtime=settings.runtime,
    )
