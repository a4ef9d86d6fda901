"""Kinds of cards: those that this version knows, and those that our own nodes have."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import resources

import msgspec
from msgspec.structs import replace

from schemas.advice import GpuProfile
from schemas.message import Rejected, Value
from schemas.workloads import Node

OTHER = 0.05
"""By how much of its memory a card may differ from the one of its name; more is a part of one."""


class Catalogue(Value):
    """Cards as they were known on the day `as_of`."""

    as_of: str
    source: str
    gpus: tuple[GpuProfile, ...]


@cache
def shipped() -> Catalogue:
    raw = resources.files("processors.advice").joinpath("gpus.json").read_bytes()
    return msgspec.json.decode(raw, type=Catalogue)


def normal(name: str) -> str:
    """A name as names are compared: drivers, labels and people write it in many ways."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return plain.removesuffix("shared").removeprefix("nvidia")


def names_of(gpu: GpuProfile) -> set[str]:
    return {normal(name) for name in (gpu.type, gpu.name, *gpu.aliases)}


def look_up(gpus: Iterable[GpuProfile], name: str) -> GpuProfile | None:
    wanted = normal(name)
    return next((gpu for gpu in gpus if wanted in names_of(gpu)), None)


def find(gpus: Sequence[GpuProfile], name: str) -> GpuProfile:
    """The kind of card of that type, name or alias. Raises `Rejected` with `not_found`."""
    if found := look_up(gpus, name):
        return found
    known = {normal(one): gpu.type for gpu in gpus for one in (gpu.type, *gpu.aliases)}
    near = get_close_matches(normal(name), known, n=1, cutoff=0.5)
    hint = f"did you mean {known[near[0]]}? " if near else ""
    raise Rejected(
        "not_found",
        f"no profile of a GPU called {name}",
        remedy=f"{hint}see `mllm recommend profiles`",
    )


def with_nodes(gpus: Sequence[GpuProfile], nodes: Iterable[Node]) -> Sequence[GpuProfile]:
    """The cards that nodes have first, those of other kinds and sizes too; then the others."""
    ours: dict[str, GpuProfile] = {}
    for node in nodes:
        if not node.gpus or not node.gpu_product:
            continue
        gpu = _of_node(gpus, node)
        if gpu is None:
            continue
        known = ours.get(gpu.type, gpu)
        ours[gpu.type] = replace(known, nodes=(*known.nodes, node.name))
    return (*ours.values(), *(gpu for gpu in gpus if gpu.type not in ours))


def _of_node(gpus: Sequence[GpuProfile], node: Node) -> GpuProfile | None:
    known = look_up(gpus, node.gpu_product)
    if known and (not node.gpu_memory or _alike(node.gpu_memory, known.memory)):
        return known
    if not node.gpu_memory:
        return None
    type = re.sub(r"[^a-z0-9.]+", "-", node.gpu_product.lower()).strip("-.")[:80] or "unknown"
    new = GpuProfile(type, node.gpu_product, "", node.gpu_memory, aliases=(node.gpu_product,))
    if known is None:
        return new
    gib = node.gpu_memory >> 30
    return replace(known, type=f"{known.type}-{gib}gib", memory=node.gpu_memory, aliases=())


def _alike(one: int, other: int) -> bool:
    return abs(one - other) <= OTHER * other
