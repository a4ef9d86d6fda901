"""What can be asked of a cluster: logs, events, nodes and GPUs, and what manifests rely on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from processors.kserve.access import Access
from processors.kserve.cluster import Cluster
from processors.kserve.facts import ClusterFacts
from processors.kserve.refusals import ClusterError
from schemas.manifest import Manifest, Resources, Toleration
from schemas.message import Rejected
from tests.kube import resources
from tests.kube.conftest import OwnWorld, kubeconfig
from tests.kube.hand import CONTAINER, STORAGE, container
from tests.kube.instances import SLOT, instance, manifest
from tests.kube.plain import Json

LONG_AGO = datetime.min.replace(tzinfo=UTC)
GPUS = "nvidia.com/gpu"


async def read(own: OwnWorld, pod: str, *, container: str = "", tail: int = 10) -> bytes:
    pieces = own.workloads.logs("default", pod, follow=False, tail=tail, container=container)
    return b"".join([piece async for piece in pieces])


async def serving(own: OwnWorld) -> None:
    wanted = instance()
    await own.driver.ensure(wanted)
    await own.hand.pod("pod", SLOT, wanted.served.id)
    own.server.written["pod", STORAGE] = [b"fetching\n"]
    own.server.written["pod", CONTAINER] = [b"one\n", b"two\n", b"three\n"]


async def test_the_last_lines_of_the_engine_are_read(own: OwnWorld) -> None:
    await serving(own)

    assert await read(own, "pod", tail=2) == b"two\nthree\n"
    assert await read(own, "pod", container=STORAGE) == b"fetching\n"


async def test_the_log_of_an_init_container_is_read_until_that_is_done(own: OwnWorld) -> None:
    await serving(own)
    await own.hand.pod_status("pod", initContainerStatuses=[container(STORAGE, running={})])
    assert await read(own, "pod") == b"fetching\n"

    done = container(STORAGE, terminated={"exitCode": 0})
    await own.hand.pod_status("pod", initContainerStatuses=[done])

    assert await read(own, "pod") == b"one\ntwo\nthree\n"


async def test_a_log_is_followed_until_its_end(own: OwnWorld) -> None:
    await serving(own)
    heard: list[bytes] = []

    async for piece in own.workloads.logs("default", "pod", follow=True, tail=1):
        heard.append(piece)
        if len(heard) == 1:
            own.server.written["pod", CONTAINER] += [b"four\n", b""]

    assert b"".join(heard) == b"three\nfour\n"


async def test_logs_of_other_pods_are_not_found(own: OwnWorld) -> None:
    await serving(own)
    await own.hand.pod("theirs", "their-model")
    own.server.written["theirs", CONTAINER] = [b"private\n"]

    for namespace, pod in [("default", "theirs"), ("other", "pod"), ("default", "../secrets/x")]:
        with pytest.raises(Rejected) as refused:
            await anext(own.workloads.logs(namespace, pod, follow=False, tail=1))
        assert refused.value.code == "not_found"


async def test_a_container_that_there_is_not_is_said_to_be_none(own: OwnWorld) -> None:
    await serving(own)

    with pytest.raises(ClusterError, match="nothing is not valid"):
        await read(own, "pod", container="nothing")


async def test_events_of_a_slot_are_told_since_a_time(own: OwnWorld) -> None:
    await own.hand.warn(f"{SLOT}-predictor-x", "FailedMount", "no such claim")
    await own.hand.warn(f"{SLOT}-b-predictor-y", "FailedScheduling", "no node")
    await own.hand.warn("their-predictor-z", "FailedMount", "not ours")

    said = await own.workloads.events("default", SLOT, LONG_AGO)

    assert {one.message for one in said} == {"no such claim", "no node"}
    assert (said[0].kind, said[0].count, said[0].at.year) == ("warning", 3, 2026)
    assert said[0].object.startswith("Pod/active-llm-")
    assert await own.workloads.events("default", SLOT, said[0].at + timedelta(seconds=1)) == []


def node(name: str, gpus: int, spec: Json | None = None, *, ready: bool = True) -> Json:
    labels = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559"}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"allocatable": {"cpu": "64", GPUS: str(gpus)}, "conditions": conditions}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec or {}, "status": status}


def holder(name: str, on: str, gpus: int, phase: str = "Running", **labels: str) -> Json:
    amounts = {GPUS: str(gpus)}
    one = {"name": "one", "resources": {"requests": amounts, "limits": amounts}}
    marks = {f"model-manager/{key}": value for key, value in labels.items()}
    return {
        "metadata": {"name": name, "labels": marks},
        "spec": {"nodeName": on, "containers": [one]},
        "status": {"phase": phase},
    }


def furnish(own: OwnWorld) -> None:
    """Three nodes that can be used and two that can not; seven GPUs of them are asked for."""
    tainted = {"taints": [{"key": "team", "value": "x", "effect": "NoSchedule"}]}
    own_taint = {"taints": [{"key": GPUS, "value": "present", "effect": "NoSchedule"}]}
    for said in (
        node("full", 4, own_taint),
        node("half", 4),
        node("spare", 1),
        node("tainted", 8, tainted),
        node("broken", 8, ready=False),
        node("cordoned", 8, {"unschedulable": True}),
    ):
        own.server.put(resources.NODES, "", said)
    for said in (
        holder("theirs", "full", 4),
        holder("done", "half", 4, phase="Succeeded"),
        holder("ours", "half", 2, namespace="default", slot="one", **{"model-id": "llama"}),
        holder("waiting", "", 8),
        holder("elsewhere", "tainted", 1),
    ):
        own.server.put(resources.PODS, own.namespace, said)


def asking(gpus: int, **more: object) -> Manifest:
    resources_wanted = Resources(gpus=gpus)
    return msgspec.structs.replace(manifest(), resources=resources_wanted, **more)


async def test_nodes_say_what_they_have_left_and_what_keeps_models_off(own: OwnWorld) -> None:
    furnish(own)

    nodes = {one.name: one for one in await own.workloads.nodes()}

    assert {name: (one.gpus, one.gpus_free) for name, one in nodes.items()} == {
        "full": (4, 0),
        "half": (4, 2),
        "spare": (1, 1),
        "tainted": (8, 7),
        "broken": (8, 8),
        "cordoned": (8, 8),
    }
    assert nodes["half"].gpu_product == "NVIDIA-H100-80GB-HBM3"
    assert nodes["half"].gpu_memory == 81559 << 20
    assert nodes["half"].why == ""
    assert nodes["tainted"].why == "its taint team=x:NoSchedule is not tolerated"
    assert (nodes["broken"].ready, nodes["broken"].why) == (False, "it is not ready")
    assert nodes["cordoned"].why == "it is cordoned"


async def test_gpus_are_free_where_a_whole_replica_fits_and_may_go(own: OwnWorld) -> None:
    furnish(own)
    facts = ClusterFacts(own.cluster)

    one = await facts.capacity(asking(1), "default")
    two = await facts.capacity(asking(2), "default")
    four = await facts.capacity(asking(4), "default")

    assert [(said.wanted, said.free, said.total) for said in (one, two, four)] == [
        (1, 3, 9),
        (2, 2, 9),
        (4, 0, 9),
    ]
    held = [(said.name, said.gpus, said.slot, said.model) for said in four.holders]
    assert held == [("theirs", 4, "", ""), ("one", 2, "one", "llama")]


async def test_what_serves_in_the_slot_counts_as_gone(own: OwnWorld) -> None:
    furnish(own)
    facts = ClusterFacts(own.cluster)

    same = await facts.capacity(asking(4), "default", slot="one")
    other = await facts.capacity(asking(4), "another", slot="one")

    assert (same.free, [said.name for said in same.holders]) == (4, ["theirs"])
    assert other.free == 0


async def test_tolerations_and_selectors_decide_where_it_may_go(own: OwnWorld) -> None:
    furnish(own)
    facts = ClusterFacts(own.cluster)

    exactly = asking(4, tolerations=(Toleration("team", "Equal", "x", "NoSchedule"),))
    wrongly = asking(4, tolerations=(Toleration("team", "Equal", "y"),))
    everything = asking(4, tolerations=(Toleration(operator="Exists"),))
    nowhere = asking(4, node_selector={"zone": "moon"})

    wants = (exactly, wrongly, everything, nowhere)
    assert [(await facts.capacity(want, "default")).free for want in wants] == [4, 0, 4, 0]


async def test_what_a_manifest_relies_on_can_be_asked_for(own: OwnWorld) -> None:
    facts = ClusterFacts(own.cluster)
    server, namespace = own.server, own.namespace
    server.put(resources.CLAIMS, namespace, {"metadata": {"name": "default"}})
    hidden = {"metadata": {"name": "hub"}, "data": {"HF_TOKEN": "c2VjcmV0"}}
    server.put(resources.SECRETS, namespace, hidden)
    settings = {"metadata": {"name": "settings"}, "data": {"a": "1"}, "binaryData": {"b": "Mg=="}}
    server.put(resources.CONFIG_MAPS, namespace, settings)
    server.put(resources.SECRETS, namespace, {"metadata": {"name": "empty"}})

    assert (await facts.has_claim("default"), await facts.has_claim("other")) == (True, False)
    assert await facts.secret_keys("hub") == frozenset({"HF_TOKEN"})
    assert await facts.secret_keys("empty") == frozenset()
    assert await facts.secret_keys("none") is None
    assert await facts.config_map_keys("settings") == frozenset({"a", "b"})


async def test_a_token_that_is_not_good_is_never_repeated(own: OwnWorld, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "bad.yaml", own.url, token="a-wrong-token")
    cluster = Cluster(Access(str(path)), own.namespace)

    with pytest.raises(ClusterError) as refused:
        await ClusterFacts(cluster).secret_keys("hub")
    await cluster.close()

    assert refused.value.code == "forbidden_cluster"
    assert "a-wrong-token" not in str(refused.value)
