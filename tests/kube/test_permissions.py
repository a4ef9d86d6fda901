"""The permissions that `deploy/` asks for are those that are used: all of them, and no more."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import yaml

from processors.kserve.facts import ClusterFacts
from tests.kube import resources
from tests.kube.conftest import OwnWorld
from tests.kube.hand import CONTAINER
from tests.kube.instances import SLOT, instance, manifest, present
from tests.support import eventually

MANIFEST = Path(__file__).parents[2] / "deploy" / "kserve-rbac.yaml"


def granted(kind: str) -> set[str]:
    """Verbs and what of, as the roles of a kind say."""
    roles = [said for said in yaml.safe_load_all(MANIFEST.read_text()) if said["kind"] == kind]
    rules = [rule for role in roles for rule in role["rules"]]
    pairs = [pair for rule in rules for pair in product(rule["verbs"], rule["resources"])]
    return {f"{verb} {resource}" for verb, resource in pairs}


async def test_what_is_granted_is_what_is_used(own: OwnWorld) -> None:
    wanted, facts = instance(), ClusterFacts(own.cluster)
    labels = {"serving.kserve.io/inferenceservice": SLOT, "model-manager/namespace": "default"}
    own.server.put(resources.PODS, own.namespace, {"metadata": {"name": "pod", "labels": labels}})
    own.server.written["pod", CONTAINER] = [b"line\n"]
    own.server.asked.clear()

    async with aclosing(own.driver.changes()) as changes:
        first = asyncio.ensure_future(anext(changes))
        await own.driver.ensure(wanted)
        await first
        await eventually(lambda: _watched(own))
    await own.driver.present()
    await own.workloads.preview(manifest(), "default", SLOT)
    await own.workloads.events("default", SLOT, datetime.min.replace(tzinfo=UTC))
    await anext(own.workloads.logs("default", "pod", follow=False, tail=1))
    await own.driver.remove(present(wanted))
    for look in (facts.has_claim, facts.secret_keys, facts.config_map_keys):
        await look("any")
    # What an apply creates has to be allowed twice, as a patch and as that.
    nodes = {asked for asked in own.server.asked if asked.endswith(" nodes")}
    within = {*own.server.asked, "create inferenceservices"} - nodes
    own.server.asked.clear()
    await facts.capacity(manifest(), "default")

    assert within == granted("Role")
    assert nodes | set(own.server.asked) == granted("ClusterRole")


async def _watched(own: OwnWorld) -> bool:
    kinds = ("inferenceservices", "pods", "deployments", "events", "nodes")
    return {f"watch {kind}" for kind in kinds} <= set(own.server.asked)
