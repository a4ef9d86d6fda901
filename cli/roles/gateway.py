"""The gateway: HTTP on ports that are put together here."""

import logging
from socket import socket
from typing import Any, cast

import uvicorn
from litestar import Litestar

from cli.assembling import Parts, assemble
from cli.settings import Settings
from cli.version import VERSION
from commands.activating import Activations
from commands.cataloging import Catalog
from commands.holding import HoldingsOnLog
from commands.idempotency import Keys
from gateway.app import create_app
from gateway.listening import listen
from gateway.ports import Ports
from gateway.telemetry import add_request_id
from processors.advice.advisor import Advice
from processors.hub import Hub
from processors.planner import HubPlanner
from processors.process.engines import Engines
from processors.process.recipes import Recipes
from processors.process.workloads import ProcessWorkloads
from processors.store import Store
from schemas.checks import Capacity, Check
from schemas.manifest import Manifest
from schemas.workloads import Workloads

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
        await Server(config, application).serve([listen(settings.host, settings.port)])


async def ports(parts: Parts) -> Ports:
    """What the gateway is handed."""
    settings = parts.settings
    epoch = await parts.jetstream.epoch()
    hub = Hub(settings.hf_endpoint, settings.hf_token)
    inspector = Unchecked()
    workloads = workloads_of(parts)
    return Ports(
        log=parts.log,
        dispatch=parts.dispatch,
        orders=parts.orders,
        catalog=Catalog(parts.log, parts.dispatch),
        activations=Activations(parts.log, parts.dispatch, inspector),
        holdings=HoldingsOnLog(parts.log),
        inspector=inspector,
        workloads=workloads,
        advisor=Advice(hub, settings.data_dir, workloads.nodes),
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


def workloads_of(parts: Parts) -> Workloads:
    """What is asked of the processes of this machine."""
    settings = parts.settings
    store = Store(settings.store, settings.weights_dir, settings.disk_reserve)
    recipes = Recipes(store, Engines(settings.engines), parts.secrets)
    return ProcessWorkloads(settings.data_dir, recipes)


class Unchecked:
    """An `Inspector` that asks no questions."""

    async def check(
        self, manifest: Manifest, namespace: str, *, slot: str = ""
    ) -> tuple[Check, ...]:
        return ()

    async def capacity(self, manifest: Manifest, namespace: str, *, slot: str = "") -> Capacity:
        gpus = manifest.resources.gpus
        return Capacity(gpus, gpus, gpus)
