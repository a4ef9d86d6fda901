"""HTTP for weights."""

from collections.abc import Mapping, Sequence

from litestar import Controller, delete, get, post
from litestar.params import FromQuery, JSONBody

from gateway.admission import needs
from gateway.caller import Caller, From
from gateway.jobs import accepted, job_row, job_url, whole
from gateway.nesting import refuse_nesting
from gateway.parameters import AsOf, Cursor, JobPath, Limit, Text, WeightsName
from gateway.ports import Handed, Ports
from gateway.reading import Fresh, Models, Reading
from projections import weights, weights_files
from projections.rows import Part, all_of
from schemas.api.jobs import InstallAccepted, JobAccepted, JobRow
from schemas.api.problem import Page
from schemas.api.weights import (
    InstallBody,
    NameBody,
    StoreUsage,
    WeightsInfo,
    WeightsRow,
    WeightsStatus,
    WeightsUsage,
)
from schemas.disk import refuse_full
from schemas.job import DeleteSpec, JobSpec, Order, VerifySpec
from schemas.live import StoreBeat
from schemas.message import Rejected
from schemas.plan import Plan, Wanted


class Weights(Controller):
    """What is on the disks, and how it gets there."""

    path = "/weights"
    tags = ("weights",)

    @post("/install", opt=needs("jobs:write"), status_code=202)
    async def install(
        self, caller: From, ports: Handed, models: Models, data: JSONBody[InstallBody]
    ) -> InstallAccepted:
        """Install weights from the Hub. The same content asked for again is the same job."""
        wanted = data.wanted()
        plan = await _plan(ports, models, wanted, caller.namespace)
        spec = plan.spec(wanted)
        order = Order(caller.seed, plan.target, plan.store, data.priority, spec, plan.disk)
        outcome = await ports.orders.install(order, caller.context())
        job = whole(outcome)
        return InstallAccepted(
            job=job,
            job_url=job_url(job),
            target=job.target,
            storage_uri=storage_uri(job.store, job.namespace, job.target),
            inference_model_path=model_path(job.namespace, job.target),
            sequence=outcome.position,
        )

    @post("/plan", opt=needs("read"), status_code=200)
    async def plan(
        self, caller: From, ports: Handed, models: Models, data: JSONBody[InstallBody]
    ) -> Plan:
        """Say what an install would bring, and how much room it would leave."""
        caller.refuse_secret(data.token_secret)
        plan = await _plan(ports, models, data.wanted(), caller.namespace)
        refuse_full(plan.store, plan.disk)
        return plan

    @get(opt=needs("read", lists=True))
    async def list_(
        self,
        caller: From,
        models: Models,
        fresh: Fresh,
        status: FromQuery[WeightsStatus | None] = None,
        model: Text = None,
        store: Text = None,
        as_of: AsOf = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[WeightsRow]:
        """List weights by name. A first install that is under way is not listed."""
        wanted = weights.Wanted(caller.namespaces, store, model, status)
        async with models.open([weights.projection.name], fresh, as_of) as view:
            return await weights.page(view.db, wanted, Part(limit, cursor, view.as_of))

    @get("/usage", opt=needs("read", lists=True))
    async def usage(
        self, caller: From, ports: Handed, models: Models, fresh: Fresh
    ) -> WeightsUsage:
        """Say what is stored where, how much room is left, and which weights are the biggest."""
        beats = {beat.store: beat for beat in await ports.live.stores()}
        async with models.open([weights.projection.name], fresh) as view:
            stored = await weights.usage(view.db, caller.namespaces)
            every = weights.Wanted(caller.namespaces)
            rows = await all_of(lambda part: weights.page(view.db, every, part))
        biggest = sorted(rows, key=lambda row: (-row.bytes, row.name))
        return WeightsUsage(with_room(stored, beats), tuple(biggest))

    @get("/info", opt=needs("read"))
    async def info(
        self,
        name: WeightsName,
        caller: From,
        models: Models,
        fresh: Fresh,
        as_of: AsOf = None,
    ) -> WeightsInfo:
        """Show weights and their files.

        As of a moment before they were replaced, their files are not known any more.
        """
        names = [weights.projection.name, weights_files.projection.name]
        async with models.open(names, fresh, as_of) as view:
            row = await weights.get(view.db, caller.namespace, name, view.as_of)
            if row is None:
                raise Rejected("not_found", f"no weights are installed as {name}")
            now = await weights.get(view.db, caller.namespace, name)
            files = await weights_files.files(view.db, caller.namespace, name)
        if now is None or now.manifest != row.manifest:
            files = ()
        uri = storage_uri(row.store, row.namespace, name)
        return WeightsInfo(row, files, uri, model_path(row.namespace, name))

    @get("/install/status/{job:str}", opt=needs("read"))
    async def status(self, job: JobPath, caller: From, models: Models, fresh: Fresh) -> JobRow:
        """Show the job of an install."""
        return await job_row(models, caller, job, fresh)

    @post("/verify", opt=needs("jobs:write"), status_code=202)
    async def verify(self, caller: From, ports: Handed, data: JSONBody[NameBody]) -> JobAccepted:
        """Hash installed weights again, and compare them with their manifest."""
        order = ordered(caller, data.name, VerifySpec())
        return accepted(await ports.orders.verify(order, caller.context()))

    @delete(opt=needs("jobs:write"), status_code=202)
    async def delete(self, name: WeightsName, caller: From, ports: Handed) -> JobAccepted:
        """Take installed weights off the disk."""
        order = ordered(caller, name, DeleteSpec())
        return accepted(await ports.orders.delete(order, caller.context()))


async def _plan(ports: Ports, models: Reading, wanted: Wanted, namespace: str) -> Plan:
    await refuse_nesting(models, ports.log, namespace, wanted.target or wanted.repo)
    return await ports.planner.plan(wanted, namespace)


def ordered(caller: Caller, target: str, spec: JobSpec) -> Order:
    """An order about weights that are there: which store holds them, their owner knows."""
    return Order(caller.seed, target, "default", 1, spec)


def with_room(
    stored: Sequence[StoreUsage], beats: Mapping[str, StoreBeat]
) -> tuple[StoreUsage, ...]:
    """What is stored, with what workers last said of their stores' room; also of empty ones."""
    known = {usage.store: usage for usage in stored}
    empty = {store: StoreUsage(store, 0, 0) for store in beats if store not in known}
    return tuple(_room(usage, beats.get(usage.store)) for usage in (known | empty).values())


def _room(usage: StoreUsage, beat: StoreBeat | None) -> StoreUsage:
    if beat is None:
        return usage
    return StoreUsage(
        usage.store, usage.installed, usage.weights, beat.free, beat.total, beat.reserve
    )


def storage_uri(store: str, namespace: str, target: str) -> str:
    """Where a server of models finds the weights."""
    return f"pvc://{store}/{model_path(namespace, target)}"


def model_path(namespace: str, target: str) -> str:
    """The same, as a path below the store."""
    return f"{namespace}/{target}"
