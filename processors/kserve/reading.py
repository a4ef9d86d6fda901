"""Objects of a cluster, in the shape that somebody wants them in."""

from collections.abc import Callable
from typing import Generic, NamedTuple

import msgspec

from processors.kserve.cluster import Cluster, Selection
from processors.kserve.kinds import Kind, O
from processors.kserve.refusals import ClusterError

ATTEMPTS = 3


class Wanted(NamedTuple, Generic[O]):
    """Which objects, in which shape; of those that `keep` does not want, nothing is held."""

    kind: Kind
    shape: type[O]
    selection: Selection = Selection()
    keep: Callable[[O], bool] = bool


async def one(cluster: Cluster, kind: Kind, name: str, shape: type[O]) -> O | None:
    """None when there is no such object. Raises `ClusterError`."""
    try:
        body = await cluster.get(kind, name)
    except ClusterError as error:
        if error.code == "not_found":
            return None
        raise
    return shaped(body, kind, shape)


async def every(cluster: Cluster, wanted: Wanted[O]) -> list[O]:
    """Raises `ClusterError`."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await _every(cluster, wanted)
        except ClusterError as error:
            if error.code != "expired":
                raise
    return await _every(cluster, wanted)


async def _every(cluster: Cluster, wanted: Wanted[O]) -> list[O]:
    found: list[O] = []
    async for page in cluster.pages(wanted.kind, wanted.selection):
        shapes = (shaped(raw, wanted.kind, wanted.shape) for raw in page.items)
        found += [shape for shape in shapes if wanted.keep(shape)]
    return found


def shaped(body: bytes | msgspec.Raw, kind: Kind, shape: type[O]) -> O:
    """Raises `ClusterError` (`cluster_unreachable`) for what is no such object."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.MsgspecError as error:
        raise ClusterError("cluster_unreachable", f"a {kind.name} is not one: {error}") from error
