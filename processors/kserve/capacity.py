"""GPUs of a cluster: how many each node has, how many are asked for, and by whom: pure.

What a node has left is what it may give out less what the pods on it ask for, as the scheduler
counts; a pod that waits for a node holds nothing yet.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from processors.kserve import nodes as of_node
from processors.kserve import pods as of_pod
from processors.kserve.kinds import Machine, Pod, Taint
from processors.kserve.service import MODEL, NAMESPACE, SLOT
from schemas.checks import Capacity, Holder
from schemas.manifest import Manifest, Toleration
from schemas.workloads import Node

KEEPS_OFF = ("NoSchedule", "NoExecute")
PRODUCTS = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "amd.com/gpu.product")
MEGABYTES = "nvidia.com/gpu.memory"
VRAM = "amd.com/gpu.vram"
UNITS = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Stock(NamedTuple):
    """Every node, and every pod that holds GPUs of one."""

    nodes: Sequence[Machine]
    pods: Sequence[Pod]

    def held(self, resource: str = "") -> Mapping[str, int]:
        """How many GPUs are asked for on each node."""
        held: Counter[str] = Counter()
        for pod in self.pods:
            held[pod.spec.node_name] += of_pod.gpus(pod, resource)
        return held


def holds(pod: Pod) -> bool:
    """Whether the pod holds GPUs of a node."""
    return bool(pod.spec.node_name and not of_pod.ended(pod) and of_pod.gpus(pod))


def nodes(stock: Stock) -> list[Node]:
    """Memory is in bytes, of one card."""
    held = stock.held()
    return [_node(machine, held.get(machine.metadata.name, 0)) for machine in stock.nodes]


def capacity(manifest: Manifest, stock: Stock, namespace: str, slot: str) -> Capacity:
    """GPUs for the manifest. `free` counts only what whole replicas fit into, on nodes that would
    take them. What serves in `slot`, unless that is "", counts as gone.
    """
    resource, each = manifest.resources.gpu_resource, manifest.resources.gpus
    others = Stock(
        stock.nodes, [pod for pod in stock.pods if not slot or _slot(pod) != (namespace, slot)]
    )
    held = others.held(resource)
    usable = [machine for machine in stock.nodes if not why_not(machine, manifest)]
    amounts = {
        one.metadata.name: of_pod.counted(one.status.allocatable, resource) for one in usable
    }
    left = {name: max(0, amount - held.get(name, 0)) for name, amount in amounts.items()}
    return Capacity(
        wanted=each * max(1, manifest.replicas.min),
        free=sum(free // max(1, each) * max(1, each) for free in left.values()),
        total=sum(amounts.values()),
        holders=_holders(others.pods, resource, amounts.keys()),
    )


def why_not(machine: Machine, manifest: Manifest) -> str:
    """What keeps a manifest's pods off a node; "" when nothing does."""
    if off := _off(machine):
        return off
    labels = machine.metadata.labels
    for key, value in manifest.node_selector.items():
        if labels.get(key) != value:
            return f"its label {key} is not {value}"
    for taint in machine.spec.taints:
        if not _tolerated(taint, manifest):
            return _tainted(taint)
    return ""


def _off(machine: Machine) -> str:
    if not of_node.ready(machine):
        return "it is not ready"
    return "it is cordoned" if machine.spec.unschedulable else ""


def _tolerated(taint: Taint, manifest: Manifest) -> bool:
    # Clusters add this toleration to whatever asks for the resource (ExtendedResourceToleration),
    # and one can not see whether this one does: the scheduler has the last word.
    if taint.effect not in KEEPS_OFF or taint.key == manifest.resources.gpu_resource:
        return True
    return any(_tolerates(one, taint) for one in manifest.tolerations)


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.operator == "Exists":
        return toleration.key in ("", taint.key)
    return (toleration.key, toleration.value) == (taint.key, taint.value)


def _tainted(taint: Taint) -> str:
    value = f"={taint.value}" if taint.value else ""
    return f"its taint {taint.key}{value}:{taint.effect} is not tolerated"


def _node(machine: Machine, held: int) -> Node:
    labels, gpus = machine.metadata.labels, of_pod.counted(machine.status.allocatable)
    taints = [_tainted(taint) for taint in machine.spec.taints if taint.effect in KEEPS_OFF]
    return Node(
        name=machine.metadata.name,
        ready=of_node.ready(machine),
        gpus=gpus,
        gpus_free=max(0, gpus - held),
        gpu_product=next((labels[key] for key in PRODUCTS if labels.get(key)), ""),
        gpu_memory=_memory(labels),
        why=_off(machine) or "; ".join(taints),
    )


def _memory(labels: Mapping[str, str]) -> int:
    if (megabytes := labels.get(MEGABYTES, "")).isdecimal():
        return int(megabytes) << 20
    found = re.fullmatch(r"(\d+)([MGT])i?B?", labels.get(VRAM, ""))
    return int(found[1]) * UNITS[found[2]] if found else 0


def _slot(pod: Pod) -> tuple[str, str]:
    labels = pod.metadata.labels
    return labels.get(NAMESPACE, ""), labels.get(SLOT, "")


def _holders(pods: Iterable[Pod], resource: str, names: Iterable[str]) -> tuple[Holder, ...]:
    """Slots of ours, each with all its pods, and others' pods: those that hold most first."""
    here = set(names)
    held: Counter[tuple[str, str, str]] = Counter()
    for pod in pods:
        if pod.spec.node_name in here:
            labels = pod.metadata.labels
            slot, model = labels.get(SLOT, ""), labels.get(MODEL, "")
            held["" if slot else pod.metadata.name, slot, model] += of_pod.gpus(pod, resource)
    return tuple(
        Holder(name or slot, gpus, slot, model)
        for (name, slot, model), gpus in held.most_common()
        if gpus
    )
