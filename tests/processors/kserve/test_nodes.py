"""What a node's conditions mean to the pods on it."""

import pytest

from processors.kserve import nodes
from processors.kserve.kinds import Machine, Meta, NodeStatus, SaidCondition


def machine(*conditions: SaidCondition) -> Machine:
    return Machine(Meta("one"), status=NodeStatus(conditions=conditions))


def test_a_node_that_is_ready_is_no_trouble() -> None:
    pressed = SaidCondition("MemoryPressure", "False", "KubeletHasSufficientMemory")
    assert nodes.trouble(machine(pressed, SaidCondition("Ready", "True"))) == ("", "")


def test_a_node_nobody_knows_of_is_no_trouble() -> None:
    assert nodes.trouble(None) == ("", "")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (SaidCondition("Ready", "False", "KubeletNotReady", "no network"), "one: no network"),
        (SaidCondition("Ready", "Unknown", "NodeStatusUnknown"), "one: NodeStatusUnknown"),
        (SaidCondition("Ready", "Unknown"), "one: Unknown"),
        (SaidCondition("DiskPressure", "True"), "one: nothing is said of it yet"),
    ],
)
def test_one_that_is_not_ready_is_told_with_its_reason(said: SaidCondition, why: str) -> None:
    assert nodes.trouble(machine(said)) == ("NodeNotReady", why)
