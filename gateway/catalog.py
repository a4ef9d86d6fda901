"""HTTP for manifests that are not registered, or not yet."""

import msgspec
from litestar import Controller, post
from litestar.params import JSONBody

from gateway.admission import needs
from gateway.caller import Caller, From
from gateway.differences import differences
from gateway.generating import Known, generated, notes
from gateway.ports import Handed, Ports
from gateway.registered import Registry
from schemas.advice import Compatibility
from schemas.api.models import (
    DiffAnswer,
    DiffBody,
    GenerateBody,
    Generated,
    Preview,
    PreviewBody,
    ValidateBody,
    Validation,
)
from schemas.checks import Capacity, Check, unchecked
from schemas.facts import Facts
from schemas.manifest import Manifest, WeightsSource
from schemas.manifest_reading import read_manifest, salvaged
from schemas.message import Rejected

UNDERSTOOD = Check("schema", "pass", "every field of the manifest is understood")


class Catalog(Controller):
    """Nothing here changes anything."""

    path = "/catalog"
    tags = ("models",)

    @post("/validate", opt=needs("read"), status_code=200)
    async def validate(
        self, caller: From, ports: Handed, data: JSONBody[ValidateBody]
    ) -> Validation:
        """Check whether a manifest could serve. Every check is shown, whatever came of others."""
        slot = data.slot or ""
        try:
            manifest = read_manifest(data.manifest)
        except Rejected as refusal:
            wrong = misunderstood(refusal)
            left = salvaged(data.manifest, [check.reason for check in wrong])
            also = await _checks(ports, caller, left, slot) if left else unchecked()
            return Validation(False, (*wrong, *also))
        checks = await _checks(ports, caller, manifest, slot)
        capacity = await _capacity(ports, manifest, caller.namespace, slot)
        valid = all(check.outcome != "fail" for check in checks)
        return Validation(valid, (UNDERSTOOD, *checks), manifest, capacity)

    @post("/preview", opt=needs("read"), status_code=200)
    async def preview(self, caller: From, ports: Handed, data: JSONBody[PreviewBody]) -> Preview:
        """Show what would be applied to a cluster, or started, were a manifest activated."""
        manifest = read_manifest(data.manifest)
        found = await ports.workloads.preview(manifest, caller.namespace, data.slot)
        return Preview(ports.runtime, data.slot, found)

    @post("/diff", opt=needs("read"), status_code=200)
    async def diff(self, caller: From, ports: Handed, data: JSONBody[DiffBody]) -> DiffAnswer:
        """Say where a manifest differs from the one that is registered."""
        manifest = read_manifest(data.manifest)
        name = data.model or manifest.id
        row = await Registry(ports.log).find(caller.namespace, name)
        changes = differences(row.manifest if row else None, manifest)
        return DiffAnswer(not changes, row.version if row else 0, changes)

    @post("/generate", opt=needs("read"), status_code=200)
    async def generate(
        self, caller: From, ports: Handed, data: JSONBody[GenerateBody]
    ) -> Generated:
        """Write a manifest for installed weights, or for a repository of the Hub.

        What the files' own headers say is read from them; nothing is guessed.
        """
        if bool(data.target) == bool(data.hf_model_id):
            raise Rejected("invalid", "name a target, or an hfModelId: one of the two")
        if data.target:
            known = await _installed(ports, caller.namespace, data)
        else:
            caller.refuse_secret(data.token_secret)
            known = await _on_hub(ports, caller.namespace, data)
        known = known._replace(fit=await _fit(ports, known.facts))
        return Generated(generated(known, data.id), known.facts, notes(known))


def misunderstood(refusal: Rejected) -> tuple[Check, ...]:
    """What is wrong with a manifest that is none, one check for each error."""
    errors = msgspec.convert(refusal.details.get("errors", ()), tuple[str, ...])
    remedy = str(refusal.details.get("remedy", ""))
    return tuple(Check("schema", "fail", error, remedy) for error in errors or (str(refusal),))


async def _checks(ports: Ports, caller: Caller, manifest: Manifest, slot: str) -> tuple[Check, ...]:
    """Whether it could be registered, and then serve."""
    registered = Check("catalog", "pass", "nothing keeps it from being registered")
    try:
        await ports.catalog.foresee(manifest, caller.context())
    except Rejected as refusal:
        remedy = str(refusal.details.get("remedy") or "")
        registered = Check("catalog", "fail", str(refusal), remedy)
    return (registered, *await ports.inspector.check(manifest, caller.namespace, slot=slot))


async def _capacity(ports: Ports, manifest: Manifest, namespace: str, slot: str) -> Capacity | None:
    """None when the world can not be asked, which one of the checks then says."""
    try:
        return await ports.inspector.capacity(manifest, namespace, slot=slot)
    except Rejected:
        return None


async def _installed(ports: Ports, namespace: str, asked: GenerateBody) -> Known:
    holding = await ports.holdings(namespace, asked.target)
    if holding is None:
        text = f"no weights are installed as {asked.target}"
        raise Rejected("weights_not_installed", text, remedy="install them first")
    source = WeightsSource(target=asked.target, file=asked.file)
    facts = holding.facts_of(asked.file) or Facts(notes=("the files were not read",))
    return Known(source, facts, holding.license)


async def _on_hub(ports: Ports, namespace: str, asked: GenerateBody) -> Known:
    token = ""
    if asked.token_secret:
        token = await ports.secrets.get(namespace, asked.token_secret)
    info = await ports.advisor.model_info(asked.hf_model_id, asked.revision, token, asked.file)
    source = WeightsSource(repo=asked.hf_model_id, revision=asked.revision, file=asked.file)
    return Known(source, info.facts, info.license)


async def _fit(ports: Ports, facts: Facts) -> Compatibility | None:
    """How it would be served on the first kind of card that one of our machines has."""
    ours = [profile for profile in await ports.advisor.profiles() if profile.nodes]
    if not ours:
        return None
    return await ports.advisor.compatibility(facts, ours[0].type)
