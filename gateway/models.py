"""HTTP for the models of the catalog."""

from typing import Annotated, TypeAlias

import msgspec
import yaml
from litestar import Controller, Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, QueryParameter
from litestar.types import ASGIApp

from gateway import catalogued
from gateway.admission import AnyRequest, needs
from gateway.caller import From
from gateway.catalog import UNDERSTOOD
from gateway.media_types import JSON, YAML
from gateway.parameters import (
    AliasPath,
    AsOf,
    Cursor,
    DryRun,
    Limit,
    ModelOrAlias,
    ModelPath,
    Text,
)
from gateway.ports import Handed, Ports
from gateway.reading import Fresh, Models
from gateway.registered import Registry, known
from projections import models as rows
from projections import statuses
from projections.rows import Part
from schemas.advice import Compatibility, engine_of, facts_for, serving_of
from schemas.api.advice import GPU_TYPE
from schemas.api.models import (
    AliasSet,
    Applied,
    Deleted,
    Document,
    ModelDetail,
    ModelVersion,
)
from schemas.api.problem import Page
from schemas.api.runtime import StatusRow
from schemas.facts import Facts
from schemas.manifest import LABEL_KEY, LABEL_NAME, Manifest
from schemas.manifest_reading import read_manifest, written
from schemas.message import Rejected
from schemas.names import END

LABELLED = LABEL_KEY.removesuffix("$" + END) + rf"(=({LABEL_NAME})?)?$" + END

Label: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        pattern=LABELLED,
        max_length=381,
        description="A label that models have, or one with its value: `team`, `team=search`.",
    ),
]
GpuType: TypeAlias = Annotated[
    str,
    QueryParameter(
        name="gpuType",
        pattern=f"^{GPU_TYPE}",
        description="A kind of card: its type, its name, or what machines call it.",
    ),
]

MANIFEST = {200: ResponseSpec(Manifest, description="A manifest", media_type=f"{JSON}, {YAML}")}
NEW = {201: ResponseSpec(Applied, description="A new model", media_type=JSON)}


class ModelRoutes(Controller):
    """What may serve. A model is found by its id, or by an alias."""

    path = "/models"
    tags = ("models",)

    @get(opt=needs("read", lists=True))
    async def list_(
        self,
        caller: From,
        ports: Handed,
        models: Models,
        fresh: Fresh,
        alias: Text = None,
        label: Label = None,
        runtime: Text = None,
        target: Text = None,
        as_of: AsOf = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[ModelDetail]:
        """List models by name, with their aliases and the slots they serve in.

        `runtime` is the engine that serves them, or would.
        """
        wanted = rows.Wanted(caller.namespaces, target, label)
        async with models.open(catalogued.MODELS, fresh, as_of) as view:
            if alias is not None:
                names = await catalogued.meant(view, caller.namespaces, alias)
                wanted = msgspec.structs.replace(wanted, names=names)
            if runtime is not None:
                names = await catalogued.served_by(view, wanted, runtime, ports.runtime)
                wanted = msgspec.structs.replace(wanted, names=names)
            page = await rows.page(view.db, wanted, Part(limit, cursor, view.as_of))
            details = await catalogued.detailed(view, caller.namespaces, page.items, ports.runtime)
        return Page(details, page.next_cursor)

    @get("/status", opt=needs("read", lists=True))
    async def status(
        self, caller: From, models: Models, fresh: Fresh, limit: Limit = 50, cursor: Cursor = None
    ) -> Page[StatusRow]:
        """Say how each slot was last seen to be: its health, its pods or processes."""
        async with models.open([statuses.projection.name], fresh) as view:
            return await statuses.page(view.db, caller.namespaces, Part(limit, cursor))

    @get("/{id:str}", opt=needs("read"))
    async def one(
        self,
        id: ModelOrAlias,
        caller: From,
        ports: Handed,
        models: Models,
        fresh: Fresh,
        as_of: AsOf = None,
    ) -> ModelDetail:
        """Show a model, its aliases and the slots it serves in."""
        async with models.open(catalogued.MODELS, fresh, as_of) as view:
            row = known(await catalogued.found(view, caller.namespace, id), id)
            [detail] = await catalogued.detailed(view, caller.namespace, [row], ports.runtime)
        return detail

    @get("/{id:str}/manifest", opt=needs("read"), responses=MANIFEST)
    async def manifest(
        self,
        id: ModelOrAlias,
        caller: From,
        request: AnyRequest,
        models: Models,
        fresh: Fresh,
        as_of: AsOf = None,
    ) -> ASGIApp:
        """Show a model's manifest: as JSON, or, for whoever accepts it, as YAML."""
        async with models.open(catalogued.MODELS, fresh, as_of) as view:
            row = known(await catalogued.found(view, caller.namespace, id), id)
        kind = request.accept.best_match([JSON, YAML], JSON)
        if kind == YAML:
            plain = written(row.manifest)
            body = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).encode()
        else:
            body = msgspec.json.encode(row.manifest)
        return Response(body, media_type=kind).to_asgi_response(None, request)

    @get("/{id:str}/history", opt=needs("read"))
    async def history(
        self,
        id: ModelOrAlias,
        caller: From,
        ports: Handed,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[ModelVersion]:
        """List what became of a model, newest first, and in which fields it changed."""
        registry = Registry(ports.log)
        commits = await registry.history(caller.namespace, id)
        if not commits:
            row = await registry.get(caller.namespace, id)
            commits = await registry.history(caller.namespace, row.name)
        return catalogued.page_of_versions(commits, limit, cursor)

    @get("/{id:str}/compatibility", opt=needs("read"))
    async def compatibility(
        self, id: ModelOrAlias, gpu_type: GpuType, caller: From, ports: Handed
    ) -> Compatibility:
        """Say whether a model fits on a kind of card, how that was reckoned, and what helps."""
        row = await Registry(ports.log).get(caller.namespace, id)
        facts = await _facts(ports, caller.namespace, row.manifest)
        engine = engine_of(row.manifest, facts, ports.runtime)
        serving = serving_of(row.manifest, engine)
        return await ports.advisor.compatibility(facts, gpu_type, serving)

    @put("/{id:str}", opt=needs("catalog:write"), responses=NEW)
    async def apply(
        self,
        id: ModelPath,
        caller: From,
        ports: Handed,
        data: JSONBody[Document],
        dry_run: DryRun = False,
    ) -> Response[Applied]:
        """Register a model, or give it its next manifest. The same again changes nothing.

        All checks are shown; none of them refuses, for a model need not serve here and now. The
        body is a manifest, as `/schemas/model-manifest` says.
        """
        manifest = _of(id, read_manifest({"id": id} | data))
        checks = (UNDERSTOOD, *await ports.inspector.check(manifest, caller.namespace))
        if dry_run:
            change = await ports.catalog.foresee(manifest, caller.context())
            position = await ports.log.end()
        else:
            change = await ports.catalog.apply(manifest, caller.context())
            position = change.position
        row = catalogued.whole(change.outcome)
        applied = Applied(row, change.created, change.changed, checks, position, dry_run)
        return Response(applied, status_code=201 if change.created and not dry_run else 200)

    @put("/{id:str}/aliases/{alias:str}", opt=needs("catalog:write"))
    async def name(self, id: ModelPath, alias: AliasPath, caller: From, ports: Handed) -> AliasSet:
        """Let an alias mean this model, whatever it meant before."""
        outcome = await ports.catalog.alias(alias, id, caller.context())
        return AliasSet(alias, id, outcome.position)

    @delete("/{id:str}/aliases/{alias:str}", opt=needs("catalog:write"), status_code=200)
    async def unname(
        self, id: ModelPath, alias: AliasPath, caller: From, ports: Handed
    ) -> AliasSet:
        """Let an alias of this model mean nothing."""
        await catalogued.refuse_other_alias(ports.log, caller.namespace, alias, id)
        outcome = await ports.catalog.alias(alias, None, caller.context())
        return AliasSet(alias, "", outcome.position)

    @delete("/{id:str}", opt=needs("catalog:write"), status_code=200)
    async def delete(self, id: ModelPath, caller: From, ports: Handed) -> Deleted:
        """Take a model out of the catalog, and its aliases. Refused while it serves somewhere."""
        outcome = await ports.catalog.delete(id, caller.context())
        return Deleted(id, outcome.position)


def _of(id: str, manifest: Manifest) -> Manifest:
    if manifest.id != id:
        text = f"the manifest is of {manifest.id}, and the path of {id}"
        raise Rejected("invalid_manifest", text, errors=[f"id: {text}"])
    return manifest


async def _facts(ports: Ports, namespace: str, manifest: Manifest) -> Facts:
    """What the weights' own files say: those installed, or those on the Hub."""
    weights = manifest.weights
    holding = await ports.holdings(namespace, weights.name)
    if holding is not None and (found := facts_for(manifest, holding, ports.runtime)):
        return found
    if weights.repo:
        known = await ports.advisor.model_info(weights.repo, weights.revision, file=weights.file)
        return known.facts
    if holding is not None:
        return Facts(notes=("the files were not read",))
    text = f"no weights are installed as {weights.name}"
    raise Rejected("weights_not_installed", text, remedy="install them first")
