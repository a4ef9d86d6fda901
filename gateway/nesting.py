"""Targets that would lie in one another, refused before anything is fetched.

What is asked for at the same moment may pass here: the worker that commits looks again, at the
disk, which decides.
"""

import asyncio

from gateway.reading import Reading
from projections import weights
from schemas.log import EventLog, Stream
from schemas.message import Rejected
from schemas.names import weights_id
from schemas.weights import AGGREGATE

PATIENCE = 1.0


async def refuse_nesting(models: Reading, log: EventLog, namespace: str, target: str) -> None:
    """Raises `Rejected` with `conflict`, and `LogUnavailable`."""
    outer, inside, _ = target.partition("/")
    if inside:
        history = await log.load(Stream(namespace, AGGREGATE, weights_id(outer)))
        if weights.fold.row_of(history) is not None:
            raise _conflict(target, f"inside those of {outer}")
    elif held := await _below(models, namespace, target):
        raise _conflict(target, f"around those of {held}")


async def _below(models: Reading, namespace: str, target: str) -> str | None:
    """The first weights below the target; without the read models nobody knows."""
    try:
        async with asyncio.timeout(PATIENCE), models.connection() as db:
            return await weights.below(db, namespace, target)
    except TimeoutError:
        return None
    except Rejected as refusal:
        if refusal.code != "read_models_unavailable":
            raise
        return None


def _conflict(target: str, where: str) -> Rejected:
    text = f"the weights of {target} would lie {where}"
    return Rejected("conflict", text, remedy="choose another target")
