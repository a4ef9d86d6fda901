"""The gateway: HTTP on ports that are put together here."""

import logging
from socket import socket
from typing import Any, cast

import uvicorn
from litestar import Litestar

from cli.assembling import Parts, assemble
from cli.settings import Settings
from cli.version import VERSION
from cli.worlds import Running, running
from commands.activating import Activations
from commands.cataloging import Catalog
from commands.holding import HoldingsOnLog
from commands.idempotency import Keys
from gateway.app import create_app
from gateway.heading import Protocol
from gateway.listening import BACKLOG, listen
from gateway.ports import Ports
from gateway.telemetry import add_request_id
from processors.advice.advisor import Advice
from processors.hub import Hub
from processors.inspection import Inspection
from processors.planner import HubPlanner

GRACE_SECONDS = 3


class Server(uvicorn.Server):
    """Ends live streams first when it is told to stop: their readers come back elsewhere."""

    def __init__(self, config: uvicorn.Config, application: Litestar) -> None:
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._application.state.connections.end_all()
        await super().shutdown(sockets)


async def serve(settings: Settings) -> None:
    """Answer requests until told to stop."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(add_request_id)
    async with assemble(settings, "gateway") as parts, running(parts) as models:
        application = create_app(await ports(parts, models))
        config = uvicorn.Config(
            cast(Any, application),
            http=Protocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            backlog=BACKLOG,
        )
        await Server(config, application).serve([listen(settings.host, settings.port)])


async def ports(parts: Parts, models: Running) -> Ports:
    """What the gateway is handed."""
    settings = parts.settings
    epoch = await parts.jetstream.epoch()
    hub = Hub(settings.hf_endpoint, settings.hf_token)
    holdings = HoldingsOnLog(parts.log)
    advisor = Advice(hub, settings.data_dir, models.workloads.nodes)
    inspector = Inspection(holdings, advisor, models.world)
    return Ports(
        log=parts.log,
        dispatch=parts.dispatch,
        orders=parts.orders,
        catalog=Catalog(parts.log, parts.dispatch, parts.jetstream),
        activations=Activations(parts.log, parts.dispatch, inspector),
        holdings=holdings,
        inspector=inspector,
        workloads=models.workloads,
        advisor=advisor,
        planner=HubPlanner(hub, parts.live, parts.secrets, settings.store),
        secrets=parts.secrets,
        keys=Keys(parts.nats, parts.names.keys),
        live=parts.live,
        job_logs=parts.logs,
        connect=parts.pool.connection,
        epoch=lambda: epoch,
        version=VERSION,
        runtime=settings.runtime,
        most_replicas=models.driver.most_replicas,
        engine_key=models.engine_key,
    )
