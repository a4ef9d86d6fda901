"""HTTP for slots: who serves where, who is to, and what happened."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias

from litestar import Controller, get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from gateway import slots
from gateway.admission import needs
from gateway.caller import From
from gateway.catalogued import chosen, engine
from gateway.diagnosis import diagnose, healthy
from gateway.parameters import TIME, AsOf, Cursor, Limit, SlotName, SlotQuery, Text
from gateway.ports import Handed
from gateway.reading import Fresh, Models, moment
from projections import activations, event_index, runtime, statuses, weights
from projections.rows import Part, all_of
from schemas.api.problem import Page
from schemas.api.runtime import (
    ActivateBody,
    ActivationKind,
    ActivationOutcome,
    ActivationRow,
    ActiveRow,
    Diagnosis,
    PromoteBody,
    RollbackBody,
    RuntimeAccepted,
    RuntimeEventRow,
    ScaleBody,
    SlotBody,
    SlotCondition,
    SlotRow,
    StatusRow,
)
from schemas.runtime import (
    DEFAULT_SLOT,
    DeactivateSlot,
    PromoteCandidate,
    RollBack,
    ScaleSlot,
    Wish,
)

RECENT = timedelta(hours=1)

Since: TypeAlias = Annotated[
    str | None,
    QueryParameter(pattern=TIME, description="From when on (RFC 3339): the last hour unless said."),
]
State: TypeAlias = Annotated[SlotCondition | None, QueryParameter(name="state")]
Kind: TypeAlias = Annotated[ActivationKind | None, QueryParameter(name="kind")]


class RuntimeReads(Controller):
    tags = ("runtime",)

    @get("/active", opt=needs("read", lists=True))
    async def active(
        self,
        caller: From,
        ports: Handed,
        models: Models,
        fresh: Fresh,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[ActiveRow]:
        """List what serves, or is to, by slot: the model, how it is seen to be, where to ask it."""
        wanted = runtime.Wanted(caller.namespaces, serving=True)
        names = [one.projection.name for one in (runtime, statuses, weights)]
        async with models.open(names, fresh) as view:
            page = await runtime.page(view.db, wanted, Part(limit, cursor))
            rows = await all_of(lambda part: statuses.page(view.db, caller.namespaces, part))
            engines = await chosen(view, caller.namespaces, page.items, ports.runtime)
        seen = {(row.namespace, row.slot): row for row in rows}
        return Page(
            tuple(slots.active(row, _of(row, seen), engine(row, engines)) for row in page.items),
            page.next_cursor,
        )

    @get("/runtime", opt=needs("read", lists=True))
    async def list_(
        self,
        caller: From,
        models: Models,
        fresh: Fresh,
        slot: SlotQuery = None,
        condition: State = None,
        as_of: AsOf = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[SlotRow]:
        """List slots: who is to serve in each, and the activation under way."""
        wanted = runtime.Wanted(caller.namespaces, slot=slot, state=condition)
        async with models.open([runtime.projection.name], fresh, as_of) as view:
            return await runtime.page(view.db, wanted, Part(limit, cursor, view.as_of))

    @get("/runtime/history", opt=needs("read", lists=True))
    async def history(
        self,
        caller: From,
        models: Models,
        fresh: Fresh,
        activation: Text = None,
        slot: SlotQuery = None,
        model: Text = None,
        outcome: FromQuery[ActivationOutcome | None] = None,
        kind: Kind = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[ActivationRow]:
        """List activations and deactivations, newest first, with how long each phase took."""
        wanted = activations.Wanted(caller.namespaces, activation, slot, model, outcome, kind)
        async with models.open([activations.projection.name], fresh) as view:
            return await activations.page(view.db, wanted, Part(limit, cursor))

    @get("/runtime/events", opt=needs("read"))
    async def events(
        self,
        caller: From,
        ports: Handed,
        models: Models,
        fresh: Fresh,
        since: Since = None,
        slot: SlotQuery = None,
        limit: Limit = 200,
    ) -> Page[RuntimeEventRow]:
        """List the newest events about slots, oldest first: the log's, and the world's own."""
        begin = moment(since) if since else datetime.now(UTC) - RECENT
        names = [event_index.projection.name, runtime.projection.name]
        wanted = runtime.Wanted(caller.namespaces, slot=slot)
        async with models.open(names, fresh) as view:
            places = await slots.logged(view.db, caller.namespace, slot, begin, limit)
            there = await all_of(lambda part: runtime.page(view.db, wanted, part))
        told = await slots.told(ports, places)
        named = {slot} if slot else {row.slot for row in there}
        world = await slots.world(ports, caller.namespace, sorted(named), begin)
        found = sorted((*told, *world), key=lambda event: event.at)
        return Page(tuple(found[-limit:]))

    @get("/runtime/diagnose", opt=needs("read"))
    async def diagnose(
        self, caller: From, ports: Handed, slot: SlotName = DEFAULT_SLOT
    ) -> Diagnosis:
        """Say what is wrong with a slot, what shows it, and what to do."""
        known = await slots.known(ports, caller.namespace, slot)
        findings = diagnose(known)
        return Diagnosis(slot, known.slot.state, healthy(findings), findings)


class RuntimeWrites(Controller):
    """Every answer holds the whole slot, straight from the log."""

    path = "/runtime"
    tags = ("runtime",)

    @post("/activate", opt=needs("runtime:write"), status_code=202)
    async def activate(
        self, caller: From, ports: Handed, data: JSONBody[ActivateBody]
    ) -> RuntimeAccepted:
        """Let a model serve. When it does, or is about to, that activation is the answer.

        One that is scaled to nothing does not: it comes up anew, with its manifest's replicas.

        Refused with `invalid_model` and every check when one fails, and with `no_capacity` and who
        holds the GPUs when there are too few.
        """
        wish = Wish(
            activation=caller.seed,
            model=data.model_id,
            slot=data.slot,
            by=caller.access.actor,
            strategy=data.strategy,
            preempt=data.preempt,
            hold=data.hold,
            timeout=data.timeout_seconds,
        )
        return slots.accepted(await ports.activations.activate(wish, caller.context()))

    @post("/deactivate", opt=needs("runtime:write"), status_code=202)
    async def deactivate(
        self, caller: From, ports: Handed, data: JSONBody[SlotBody | None] = None
    ) -> RuntimeAccepted:
        """Let nobody serve in a slot."""
        slot = (data or SlotBody()).slot
        command = DeactivateSlot(slot, caller.seed, caller.access.actor)
        return slots.accepted(await ports.activations.deactivate(command, caller.context()))

    @post("/promote", opt=needs("runtime:write"), status_code=202)
    async def promote(
        self, caller: From, ports: Handed, data: JSONBody[PromoteBody]
    ) -> RuntimeAccepted:
        """Let a candidate that waits serve, in place of the current one."""
        command = PromoteCandidate(
            data.slot, data.candidate_id, caller.access.actor, data.current_id
        )
        return slots.accepted(await ports.activations.promote(command, caller.context()))

    @post("/rollback", opt=needs("runtime:write"), status_code=202)
    async def rollback(
        self, caller: From, ports: Handed, data: JSONBody[RollbackBody | None] = None
    ) -> RuntimeAccepted:
        """Give up the activation under way; or go back to who served before."""
        wish = data or RollbackBody()
        command = RollBack(
            wish.slot,
            caller.seed,
            caller.access.actor,
            wish.strategy,
            wish.timeout_seconds,
            ends=wish.activation,
        )
        return slots.accepted(await ports.activations.roll_back(command, caller.context()))

    @post("/scale", opt=needs("runtime:write"), status_code=202)
    async def scale(
        self, caller: From, ports: Handed, data: JSONBody[ScaleBody]
    ) -> RuntimeAccepted:
        """Change how many replicas serve, within what the manifest and the runtime allow."""
        command = ScaleSlot(data.slot, data.replicas, ports.most_replicas, caller.access.actor)
        return slots.accepted(await ports.activations.scale(command, caller.context()))


def _of(row: SlotRow, seen: Mapping[tuple[str, str], StatusRow]) -> StatusRow | None:
    return seen.get((row.namespace, row.slot))
