"""How an instance is, from everything the cluster says about it: pure.

Whether it is ready is told from its own pods where there are any, because an InferenceService's
`Ready` may belong to the model before, and KServe copies `observedGeneration` from what it makes
of the object, where it counts other changes: too low a number may stay so for ever. Without a pod
in sight (scaled to nothing, or run by something else) that number is all there is to go by.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from processors.driver import Instance, Sight
from processors.kserve import nodes as of_node
from processors.kserve import pods as of_pod
from processors.kserve.kinds import (
    Deployment,
    Happening,
    Machine,
    Pod,
    SaidCondition,
    Service,
    ServiceStatus,
)
from processors.kserve.service import DERIVED, OPENAI
from schemas.status import Condition, Health, PodStatus, SlotStatus

HOPELESS = frozenset(
    {"InvalidPredictorSpec", "NoSupportingRuntime", "RuntimeDisabled", "RuntimeNotRecognized"}
)
"""Failures that KServe reports and that no waiting cures."""

STUCK = frozenset({"FailedAttachVolume", "FailedBinding", "FailedCreatePodSandBox", "FailedMount"})
"""Warnings of what a pod's own status does not say: why its containers are not begun."""

MESSAGE_LIMIT = 1000


class Seen(NamedTuple):
    """What there is of an instance. `pods` are all of its object's, whatever their activation;
    `nodes` are the cluster's, by name, as far as they are known."""

    service: Service
    pods: Sequence[Pod] = ()
    deployments: Sequence[Deployment] = ()
    warnings: Sequence[Happening] = ()
    nodes: Mapping[str, Machine] = {}

    @property
    def said(self) -> ServiceStatus:
        return self.service.status or ServiceStatus()

    @property
    def observed(self) -> bool:
        """Whether the status is, for all that it says itself, of what was applied last."""
        return self.said.observed_generation >= self.service.metadata.generation

    def trouble(self, pod: Pod) -> tuple[str, str]:
        """Why a pod does not run, or not for sure: its own reason, or its node's."""
        own = of_pod.trouble(pod)
        return own if own[0] else of_node.trouble(self.nodes.get(pod.spec.node_name))


def sight(instance: Instance, seen: Seen, drift: tuple[str, ...], *, inside: bool) -> Sight:
    """`inside`: in the cluster, and so able to use its own addresses."""
    answers = is_ready(seen, instance.served.id)
    code, hopeless = _hopeless(seen)
    wrong = hopeless or _trouble(instance, seen)
    url = _url(seen, inside=inside) if answers else ""
    own = _own(instance, seen.pods)
    status = SlotStatus(
        health=_health(own, answers=answers, wrong=bool(wrong), wanted=instance.replicas),
        model=instance.served.model,
        activation=instance.served.id,
        message=(wrong or ("" if answers else _note(own, seen.warnings)))[:MESSAGE_LIMIT],
        url=url,
        replicas=instance.replicas,
        replicas_ready=sum(of_pod.ready(pod) for pod in own),
        gpus=sum(of_pod.gpus(pod) for pod in own if pod.spec.node_name and not of_pod.ended(pod)),
        pods=tuple(sorted(_pods(seen), key=lambda pod: pod.name)),
        conditions=tuple(map(_condition, seen.said.conditions)),
    )
    return Sight(status, url, "" if answers else code, drift)


def absent(instance: Instance, message: str, code: str = "", drift: tuple[str, ...] = ()) -> Sight:
    """Nothing of it is there, and why."""
    health: Health = "failed" if code else "absent"
    served = instance.served
    said = SlotStatus(
        health, served.model, served.id, message[:MESSAGE_LIMIT], replicas=instance.replicas
    )
    return Sight(said, code=code, drift=drift)


def is_ready(seen: Seen, activation: str) -> bool:
    if seen.service.metadata.deletion_timestamp or not _true(seen.said.conditions, "Ready"):
        return False
    marked = [pod for pod in seen.pods if of_pod.activation(pod)]
    if marked:
        own = (pod for pod in marked if of_pod.activation(pod) == activation)
        return any(map(of_pod.ready, own))
    return seen.observed


def _pods(seen: Seen) -> Iterable[PodStatus]:
    return (of_pod.status(pod, seen.trouble(pod)) for pod in seen.pods)


def _own(instance: Instance, pods: Iterable[Pod]) -> list[Pod]:
    """Its pods, and not those of another activation that was, or is to be, in the same object."""
    return [pod for pod in pods if of_pod.activation(pod) in ("", instance.served.id)]


def _health(own: Sequence[Pod], *, answers: bool, wrong: bool, wanted: int) -> Health:
    if answers:
        short = own and sum(map(of_pod.ready, own)) < wanted
        return "degraded" if wrong or short else "ready"
    if wrong:
        return "failed"
    return "loading" if any(map(of_pod.loading, own)) else "starting"


def _hopeless(seen: Seen) -> tuple[str, str]:
    model = seen.said.model_status
    info = model.last_failure_info
    # A failure of the model before is still there until the controller has looked again.
    current = seen.observed or seen.service.metadata.generation == 1
    if current and info is not None and info.reason in HOPELESS:
        return "invalid", f"{info.reason}: {info.message}"
    return "", ""


def _trouble(instance: Instance, seen: Seen) -> str:
    """What is wrong, in the words of whoever is closest to it; "" while nothing is."""
    own = _own(instance, seen.pods)
    for pod in own:
        reason, message = seen.trouble(pod)
        if reason:
            return f"{reason}: {message or pod.metadata.name}"
    for deployment in seen.deployments:
        for condition in deployment.status.conditions:
            if _failing(condition):
                return f"{condition.reason}: {condition.message}"
    return ""


def _note(own: Sequence[Pod], warnings: Iterable[Happening]) -> str:
    """What it is busy with, or held up by, as far as one can see."""
    waiting = {pod.metadata.name for pod in own if pod.status.phase == "Pending"}
    told = [one for one in warnings if one.reason in STUCK and one.involved_object.name in waiting]
    latest = max(told, key=lambda one: one.at, default=None)
    return f"{latest.reason}: {latest.message}" if latest else of_pod.preparing(own)


def _failing(condition: SaidCondition) -> bool:
    """A deployment's: pods that are refused (a quota, say), or that were waited for in vain."""
    refused = condition.type == "ReplicaFailure" and condition.status == "True"
    return refused or (condition.type == "Progressing" and condition.status == "False")


def _true(conditions: Iterable[SaidCondition], kind: str) -> bool:
    return any(one.type == kind and one.status == "True" for one in conditions)


def _url(seen: Seen, *, inside: bool) -> str:
    """Where it answers. One that is ready and does not say where has at least its service."""
    said, meta = seen.said, seen.service.metadata
    url = (said.address.url if inside else "") or said.url or said.address.url
    return f"{(url or f'http://{meta.name}{DERIVED}.{meta.namespace}.svc').rstrip('/')}{OPENAI}"


def _condition(said: SaidCondition) -> Condition:
    return Condition(said.type, said.status, said.reason, said.message[:MESSAGE_LIMIT])
