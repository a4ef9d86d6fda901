"""The HTTP application, assembled from the ports it is handed."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.types import ControllerRouterHandler
from litestar.types.composite_types import Dependencies

from gateway.admission import Admission, methods, refuse_unnamed
from gateway.advice import Recommendations, Vllm
from gateway.auth import Authenticator
from gateway.caller import provide_caller
from gateway.catalog import Catalog
from gateway.connections import Connections
from gateway.docs import Docs
from gateway.ending import end
from gateway.event_places import EventPlaces
from gateway.events import Events
from gateway.following import Following
from gateway.heads import Heads
from gateway.health import Health
from gateway.history import History
from gateway.idempotency import Idempotency
from gateway.job_logs import JobLogs
from gateway.jobs import Jobs
from gateway.models import ModelRoutes
from gateway.openapi import Document, describe, queries
from gateway.pods import PodRoutes
from gateway.ports import Ports
from gateway.problems import HANDLERS
from gateway.published import Published
from gateway.reading import Reading, provide_min_sequence
from gateway.runtime import RuntimeReads, RuntimeWrites
from gateway.secrets import Secrets
from gateway.serving import Serving
from gateway.settings import DEFAULTS, Settings
from gateway.stream import EventStream
from gateway.subscription import Subscriptions
from gateway.system import System
from gateway.telemetry import Telemetry
from gateway.tokens import Tokens
from gateway.weights import Weights

ROUTES: tuple[ControllerRouterHandler, ...] = (
    Catalog,
    Docs,
    Events,
    Health,
    JobLogs,
    Jobs,
    ModelRoutes,
    PodRoutes,
    Published,
    Recommendations,
    RuntimeReads,
    RuntimeWrites,
    Secrets,
    Serving,
    System,
    Tokens,
    Vllm,
    Weights,
)
HANDED = (
    "settings",
    "ports",
    "authenticator",
    "connections",
    "models",
    "subscriptions",
    "following",
    "description",
)
MOST_BODY_BYTES = 1024 * 1024


def create_app(ports: Ports, settings: Settings = DEFAULTS) -> Litestar:
    """The application. Its lifespan follows the log; `app.state.connections` ends what goes on.

    Raises `RuntimeError` when a route names no scope.
    """
    authenticator = Authenticator(ports.log)
    connections = Connections(settings.stuck_seconds, settings.most_streams)
    stream = EventStream(
        ports.log, ports.live, ports.job_logs, authenticator, connections, settings
    )
    models = Reading(ports.connect, ports.log)
    history = History(ports.log, stream, EventPlaces(models))
    document = description(ports.version)
    things = {
        "settings": settings,
        "ports": ports,
        "authenticator": authenticator,
        "connections": connections,
        "models": models,
        "subscriptions": Subscriptions(ports.log, stream, history, ports.epoch),
        "following": Following(ports.log, ports.job_logs, stream),
        "description": document,
    }
    app = Litestar(
        ROUTES,
        dependencies=_dependencies(things),
        middleware=[Admission(authenticator, queries(document)), Idempotency(ports.keys)],
        exception_handlers=HANDLERS,
        lifespan=[_running(stream)],
        request_max_body_size=MOST_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
        state=State({"connections": connections}),
    )
    refuse_unnamed(app)
    app.asgi_handler = Telemetry(Heads(app.asgi_handler, methods(app)))
    return app


@cache
def description(version: str) -> Document:
    """The API's description. It is the same for every application, and takes a while to make."""
    return describe(ROUTES, _dependencies(dict.fromkeys(HANDED)), version)


def _dependencies(things: Mapping[str, object]) -> Dependencies:
    """What routes may ask for: the same `things` every time, or what the request itself says."""
    return {name: _always(thing) for name, thing in things.items()} | {
        "caller": Provide(provide_caller),
        "fresh": Provide(provide_min_sequence),
    }


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
            await end(running)

    return lifespan
