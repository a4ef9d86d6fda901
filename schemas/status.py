"""What is seen of a slot: whether it answers, and how its processes or pods are.

Observations, one event for each real change, on a subject of their own: they never stand in the way
of a decision about the slot. Types and field names below are the stored format.
"""

from typing import Literal, TypeAlias

from schemas.message import Command, Event, Value
from schemas.names import Slot

AGGREGATE = "status"

Health: TypeAlias = Literal["absent", "starting", "loading", "ready", "degraded", "failed"]


class ContainerStatus(Value):
    """One container, or the one process. `state` is running, waiting or terminated."""

    name: str
    state: str
    reason: str = ""
    message: str = ""
    init: bool = False
    ready: bool = False
    restarts: int = 0
    exit_code: int | None = None


class PodStatus(Value):
    """A pod, or the one process. `reason` says why it is not running."""

    name: str
    phase: str
    node: str = ""
    reason: str = ""
    message: str = ""
    ready: bool = False
    gpus: int = 0
    activation: str = ""
    containers: tuple[ContainerStatus, ...] = ()


class Condition(Value):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class SlotStatus(Value):
    """What a slot is seen to be. `model` and `activation` are who serves, or is to."""

    health: Health = "absent"
    model: str = ""
    activation: str = ""
    message: str = ""
    url: str = ""
    replicas: int = 0
    replicas_ready: int = 0
    gpus: int = 0
    pods: tuple[PodStatus, ...] = ()
    conditions: tuple[Condition, ...] = ()


class RecordStatus(Command):
    slot: Slot
    status: SlotStatus


class StatusUpdated(Event, tag="model.status.updated"):
    slot: str
    status: SlotStatus


StatusCommand: TypeAlias = RecordStatus
StatusEvent: TypeAlias = StatusUpdated
