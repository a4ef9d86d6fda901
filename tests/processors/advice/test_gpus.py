"""Cards: those that are shipped, and those that nodes report."""

import pytest

from processors.advice.gpus import find, names_of, shipped, with_nodes
from schemas.message import Rejected
from schemas.workloads import Node

GIB = 1 << 30


def node(name: str, product: str, memory: int = 0, gpus: int = 8) -> Node:
    return Node(name, True, gpus, gpus, product, memory)


def test_every_card_is_named_once() -> None:
    names = [name for gpu in shipped().gpus for name in names_of(gpu)]

    assert len(names) == len(set(names))
    assert shipped().as_of


def test_every_card_is_described() -> None:
    for gpu in shipped().gpus:
        assert gpu.memory > 8 * GIB
        assert gpu.bandwidth > 10**11
        assert gpu.capability
        assert {"float32", "float16"} <= set(gpu.dtypes)
        assert gpu.segment != "unknown"


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("h100", "h100"),
        ("H100", "h100"),
        ("NVIDIA-H100-80GB-HBM3", "h100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA-A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA-L40S-SHARED", "l40s"),
        ("Tesla-T4", "t4"),
        ("AMD_Instinct_MI300X_OAM", "mi300x"),
        ("RTX 4090", "rtx-4090"),
        ("nvidia geforce rtx 4090", "rtx-4090"),
    ],
)
def test_a_card_is_found_by_any_of_its_names(name: str, type: str) -> None:
    assert find(shipped().gpus, name).type == type


def test_an_unknown_card_is_not_found_but_may_be_guessed() -> None:
    with pytest.raises(Rejected) as refused:
        find(shipped().gpus, "h1000")

    assert refused.value.code == "not_found"
    assert "did you mean h100?" in str(refused.value.details["remedy"])


def test_cards_of_our_nodes_come_first() -> None:
    nodes = [node("n1", "NVIDIA-L40S"), node("n2", "NVIDIA-L40S"), node("n3", "", gpus=0)]

    first, *others = with_nodes(shipped().gpus, nodes)

    assert (first.type, first.nodes) == ("l40s", ("n1", "n2"))
    assert len(others) == len(shipped().gpus) - 1


def test_a_card_that_nobody_knows_is_known_by_its_node() -> None:
    found = with_nodes(shipped().gpus, [node("n1", "NVIDIA-X900-TURBO", 128 * GIB)])

    assert (found[0].type, found[0].memory) == ("nvidia-x900-turbo", 128 * GIB)
    assert find(found, "NVIDIA-X900-TURBO") == found[0]


def test_a_card_of_which_nothing_is_known_is_left_out() -> None:
    assert len(with_nodes(shipped().gpus, [node("n1", "what")])) == len(shipped().gpus)


def test_a_part_of_a_card_is_another_card() -> None:
    found = with_nodes(shipped().gpus, [node("n1", "NVIDIA-H100-80GB-HBM3", 10 * GIB)])

    assert (found[0].type, found[0].memory) == ("h100-10gib", 10 * GIB)
    assert find(found, "h100").memory > 70 * GIB
