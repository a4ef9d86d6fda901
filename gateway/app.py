"""The HTTP application, assembled from the ports it is handed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from gateway.admission import Admission, refuse_unnamed
from gateway.auth import Authenticator
from gateway.caller import provide_caller
from gateway.connections import Connections
from gateway.docs import Docs
from gateway.event_places import EventPlaces
from gateway.events import Events
from gateway.following import Following
from gateway.health import Health
from gateway.history import History
from gateway.idempotency import Idempotency
from gateway.job_logs import JobLogs
from gateway.jobs import Jobs
from gateway.openapi import describe, queries
from gateway.ports import Ports
from gateway.problems import HANDLERS
from gateway.reading import Reading, provide_min_sequence
from gateway.secrets import Secrets
from gateway.stream import EventStream
from gateway.subscription import Subscriptions
from gateway.system import System
from gateway.telemetry import Telemetry
from gateway.tokens import Tokens
from gateway.weights import Weights

ROUTES: tuple[ControllerRouterHandler, ...] = (
    Docs,
    Events,
    Health,
    JobLogs,
    Jobs,
    Secrets,
    System,
    Tokens,
    Weights,
)
MOST_BODY_BYTES = 1024 * 1024


def create_app(ports: Ports) -> Litestar:
    """The application. Its lifespan follows the log; `app.state.connections` ends what goes on.

    Raises `RuntimeError` when a route names no scope.
    """
    authenticator, connections = Authenticator(ports.log), Connections()
    stream = EventStream(ports.log, ports.live, authenticator, connections)
    models = Reading(ports.connect, ports.log)
    history = History(ports.log, stream, EventPlaces(models))
    dependencies = {
        "caller": Provide(provide_caller),
        "fresh": Provide(provide_min_sequence),
        "ports": _always(ports),
        "authenticator": _always(authenticator),
        "connections": _always(connections),
        "models": _always(models),
        "subscriptions": _always(Subscriptions(ports.log, stream, history, ports.epoch)),
        "following": _always(Following(ports.log, ports.job_logs, stream)),
    }
    description = describe(ROUTES, dependencies | {"description": _always({})}, ports.version)
    app = Litestar(
        ROUTES,
        dependencies=dependencies | {"description": _always(description)},
        middleware=[Admission(authenticator, queries(description)), Idempotency(ports.keys)],
        exception_handlers=HANDLERS,
        lifespan=[_running(stream)],
        request_max_body_size=MOST_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
        state=State({"connections": connections}),
    )
    refuse_unnamed(app)
    app.asgi_handler = Telemetry(app.asgi_handler)
    return app


def _always(thing: object) -> Provide:
    return Provide(lambda: thing, sync_to_thread=False)


def _running(stream: EventStream) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        running = asyncio.create_task(stream.run())
        try:
            yield
        finally:
            app.state.connections.end_all()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    return lifespan
