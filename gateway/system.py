"""HTTP for the system as a whole."""

from datetime import UTC, datetime, timedelta

from litestar import Controller, get, post

from gateway.admission import needs
from gateway.caller import From
from gateway.parameters import ProjectionPath
from gateway.ports import Handed
from gateway.reading import Fresh, Models
from projections import checkpoints, daily, jobs, weights
from schemas.api.problem import Page
from schemas.api.system import ProjectionStatus, SystemInfo, SystemSummary

DAYS = 30


class System(Controller):
    tags = ("system",)

    @get("/system/info", opt=needs("read", lists=True))
    async def info(self, caller: From, ports: Handed) -> SystemInfo:
        """Say what runs here, where its log ends, and who is asking."""
        return SystemInfo(
            version=ports.version,
            epoch=ports.epoch(),
            position=await ports.log.end(),
            runtime=ports.runtime,
            namespace=caller.namespace,
            actor=caller.access.actor,
            scopes=tuple(sorted(caller.access.scopes)),
        )

    @get("/system/summary", opt=needs("read", lists=True))
    async def summary(
        self, caller: From, ports: Handed, models: Models, fresh: Fresh
    ) -> SystemSummary:
        """Give the figures of a dashboard's front page."""
        names = [one.projection.name for one in (jobs, weights, daily)]
        end = await ports.log.end()
        since = datetime.now(UTC).date() - timedelta(days=DAYS)
        async with models.open(names, fresh) as view:
            stored = await weights.usage(view.db, caller.namespaces)
            return SystemSummary(
                jobs=await jobs.counts(view.db, caller.namespaces),
                weights=sum(usage.weights for usage in stored),
                weights_bytes=sum(usage.installed for usage in stored),
                days=await daily.days(view.db, caller.namespaces, since),
                projections=tuple(await checkpoints.status(view.db, end)),
            )

    @get("/projections", opt=needs("admin"))
    async def projections(self, ports: Handed, models: Models) -> Page[ProjectionStatus]:
        """Say how far each read model has come. There are few: all of them are one page."""
        end = await ports.log.end()
        async with models.connection() as db:
            return Page(tuple(await checkpoints.status(db, end)))

    @post("/projections/{name:str}/rebuild", opt=needs("admin"), status_code=202)
    async def rebuild(
        self, name: ProjectionPath, ports: Handed, models: Models
    ) -> ProjectionStatus:
        """Fold a read model anew beside the live one, which it then replaces."""
        end = await ports.log.end()
        async with models.connection() as db:
            await checkpoints.request_rebuild(db, name)
            found = await checkpoints.status(db, end)
        return next(one for one in found if one.name == name)
