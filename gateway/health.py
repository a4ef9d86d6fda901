"""Whether the process lives, whether it can do its work, and its figures."""

import asyncio
from typing import TypeAlias

from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.admission import needs
from gateway.media_types import TEXT
from gateway.ports import Handed, Ports
from gateway.reading import Models, Reading
from gateway.settings import Settings
from projections import checkpoints
from schemas.api.system import PartHealth, Readiness
from schemas.log import LogUnavailable
from schemas.message import Rejected, Value

PATIENCE_SECONDS = 2.0
Tuning: TypeAlias = NamedDependency[SkipValidation[Settings]]


class Alive(Value):
    ok: bool = True


class Health(Controller):
    tags = ("health",)

    @get(["/health", "/healthz"])
    async def alive(self) -> Alive:
        """Say that the process answers."""
        return Alive()

    @get(
        "/readyz",
        responses={503: ResponseSpec(Readiness, description="Some part is not ready")},
    )
    async def ready(self, ports: Handed, models: Models, settings: Tuning) -> Response[Readiness]:
        """Say whether NATS, Postgres and the read models are fit for use."""
        nats, end = await log_part(ports)
        parts = (nats, *await model_parts(models, end, settings.most_lag))
        ok = all(part.ok for part in parts)
        return Response(Readiness(ok, parts), status_code=200 if ok else 503)

    @get("/metrics", opt=needs("read"), media_type=TEXT)
    async def metrics(self) -> Response[bytes]:
        """Give the process's figures, as Prometheus reads them."""
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def log_part(ports: Ports) -> tuple[PartHealth, int]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return PartHealth("nats", True), await ports.log.end()
    except (TimeoutError, LogUnavailable):
        return PartHealth("nats", False, "does not answer"), 0


async def model_parts(models: Reading, end: int, most_lag: int) -> tuple[PartHealth, ...]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), models.connection() as db:
            found = await checkpoints.status(db, end)
    except (TimeoutError, Rejected):
        return (PartHealth("postgres", False, "does not answer"),)
    lag = max((one.lag for one in found), default=0)
    detail = f"{lag} commits behind" if lag else ""
    return PartHealth("postgres", True), PartHealth("projections", lag <= most_lag, detail)
