"""What a pod, as the cluster tells of it, means to us: its state, its troubles, its GPUs."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from processors.kserve.kinds import Container, Pod, SaidContainer, Terminated
from processors.kserve.service import ACTIVATION
from schemas.status import ContainerStatus, PodStatus

TROUBLES = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""What a container may wait for that mostly takes somebody to put it right."""

MESSAGE_LIMIT = 500
LOST_AFTER = timedelta(minutes=2)
GPU = re.compile(r"(^|/)(gpu|mig-[a-z0-9.]+|.*\.shared)$")
"""Resources that are GPUs, or parts of one: nvidia.com/gpu, amd.com/gpu, nvidia.com/mig-1g.5gb."""


def activation(pod: Pod) -> str:
    """Which activation the pod belongs to; "" when it does not say."""
    return pod.metadata.labels.get(ACTIVATION, "")


def ready(pod: Pod) -> bool:
    said = {condition.type: condition.status for condition in pod.status.conditions}
    return said.get("Ready") == "True" and pod.metadata.deletion_timestamp is None


def ended(pod: Pod) -> bool:
    """Whether it has run to its end, and holds nothing any more."""
    return pod.status.phase in ("Succeeded", "Failed")


def lost(pod: Pod, now: datetime) -> bool:
    """Whether it should have been gone for long: its node, which would say so, does not answer."""
    due = pod.metadata.deletion_timestamp  # by then, its time to end included
    return due is not None and now - datetime.fromisoformat(due) > LOST_AFTER


def gpus(pod: Pod, resource: str = "") -> int:
    """How many GPUs the pod asks for: of one `resource`, or of every kind."""
    spec = pod.spec
    # Init containers run one by one before the others, unless they stay beside them.
    beside = [one for one in spec.init_containers if one.restart_policy == "Always"]
    alone = [one for one in spec.init_containers if one.restart_policy != "Always"]
    together = sum(_gpus(one, resource) for one in (*spec.containers, *beside))
    return max([together, *(_gpus(one, resource) for one in alone)])


def _gpus(container: Container, resource: str) -> int:
    needs = container.resources
    return counted({**needs.limits, **needs.requests}, resource)


def counted(amounts: Mapping[str, str | int], resource: str = "") -> int:
    """How many GPUs a list of amounts names; of one `resource`, or of every kind."""
    return sum(
        _whole(amount)
        for name, amount in amounts.items()
        if (name == resource if resource else GPU.search(name))
    )


def _whole(amount: str | int) -> int:
    """Devices are counted in whole ones; anything else is not an amount of them."""
    text = str(amount)
    return int(text) if text.isdecimal() else 0


def status(pod: Pod, wrong: tuple[str, str]) -> PodStatus:
    """`wrong` is what is the matter with it, as reason and message."""
    reason, message = wrong
    said = pod.status
    return PodStatus(
        name=pod.metadata.name,
        phase="Terminating" if pod.metadata.deletion_timestamp else said.phase or "Pending",
        node=pod.spec.node_name,
        reason=reason,
        message=message[:MESSAGE_LIMIT],
        ready=ready(pod),
        gpus=gpus(pod),
        activation=activation(pod),
        containers=(
            *_containers(said.init_container_statuses, init=True),
            *_containers(said.container_statuses, init=False),
        ),
    )


def trouble(pod: Pod) -> tuple[str, str]:
    """Why the pod does not run, as reason and message; both empty while nothing is wrong."""
    said = pod.status
    for condition in said.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return condition.reason or "Unschedulable", condition.message
    for container in (*said.init_container_statuses, *said.container_statuses):
        if found := _trouble(container):
            return found
    return (said.reason or "Failed", said.message) if said.phase == "Failed" else ("", "")


def _trouble(container: SaidContainer) -> tuple[str, str] | None:
    waiting, ended_now = container.state.waiting, container.state.terminated
    if waiting is not None and waiting.reason in TROUBLES:
        last = container.last_state.terminated
        why = f"; it ended with {_end(last)}" if last else ""
        return waiting.reason, f"{container.name}: {waiting.message or waiting.reason}{why}"
    if ended_now is not None and ended_now.exit_code != 0:
        return ended_now.reason or "Error", f"{container.name} ended with {_end(ended_now)}"
    return None


def _end(said: Terminated) -> str:
    return " ".join(filter(None, (f"code {said.exit_code}", said.reason, said.message)))


def loading(pod: Pod) -> bool:
    """Whether its engine runs, and only has yet to answer."""
    running = [one.state.running is not None for one in pod.status.container_statuses]
    return bool(running) and all(running)


def preparing(pods: Iterable[Pod]) -> str:
    """How far init containers are, such as the one that fetches a model, while any is at work."""
    for pod in pods:
        inits = pod.status.init_container_statuses
        done = sum(1 for one in inits if _succeeded(one))
        for one in inits:
            if one.state.running is not None:
                return f"{one.name} is at work ({done + 1} of {len(inits)})"
    return ""


def _succeeded(container: SaidContainer) -> bool:
    ended_now = container.state.terminated
    return ended_now is not None and ended_now.exit_code == 0


def _containers(said: Iterable[SaidContainer], *, init: bool) -> Iterable[ContainerStatus]:
    for container in said:
        state, reason, message, code = _state(container)
        yield ContainerStatus(
            name=container.name,
            state=state,
            reason=reason,
            message=message[:MESSAGE_LIMIT],
            init=init,
            ready=container.ready,
            restarts=container.restart_count,
            exit_code=code,
        )


def _state(container: SaidContainer) -> tuple[str, str, str, int | None]:
    """What it is doing, why, and the code that it ended with last."""
    state, last = container.state, container.last_state.terminated
    if state.terminated is not None:
        ended_now = state.terminated
        return "terminated", ended_now.reason, ended_now.message, ended_now.exit_code
    code = last.exit_code if last else None
    if state.running is not None:
        return "running", "", "", code
    waiting = state.waiting
    return "waiting", waiting.reason if waiting else "", waiting.message if waiting else "", code
