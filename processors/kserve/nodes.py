"""What a node, as the cluster tells of it, means to what runs there: pure."""

from processors.kserve.kinds import Machine, SaidCondition

UNHEARD_OF = SaidCondition("Ready", "Unknown", message="nothing is said of it yet")


def ready(machine: Machine) -> bool:
    return _said(machine).status == "True"


def trouble(machine: Machine | None) -> tuple[str, str]:
    """Why its pods can not be relied on, as reason and message; both empty when they can, or when
    nothing is known of the node."""
    if machine is None or ready(machine):
        return "", ""
    said = _said(machine)
    return "NodeNotReady", f"{machine.metadata.name}: {said.message or said.reason or said.status}"


def _said(machine: Machine) -> SaidCondition:
    conditions = machine.status.conditions
    return next((one for one in conditions if one.type == "Ready"), UNHEARD_OF)
