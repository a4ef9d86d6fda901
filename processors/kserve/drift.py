"""Where two states of an object differ in what people, not controllers, decide."""

from collections.abc import Iterator
from typing import Any, cast

from processors.kserve.cluster import Object

FIELDS_LIMIT = 50
"""More would be a list nobody reads, in an event that is kept for ever."""


def drift(found: Object, corrected: Object) -> tuple[str, ...]:
    """The fields that applying what is wanted would change, as paths (`spec.predictor.x`).

    `corrected` is the server's own answer to a dry run, so whatever the server does to an object
    (defaults, pruning, lists that merge) is on both sides, and what other managers own is, too.
    """
    parts = ((_meta(found), _meta(corrected)), (_spec(found), _spec(corrected)))
    fields = sorted(field for one, other in parts for field in _differing("", one, other))
    return tuple(fields[:FIELDS_LIMIT])


def _meta(said: Object) -> Object:
    parts: Object = {part: said["metadata"].get(part) for part in ("labels", "annotations")}
    return {"metadata": {part: value or {} for part, value in parts.items()}}


def _spec(said: Object) -> Object:
    return {"spec": said.get("spec") or {}}


def _differing(path: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        former, latter = cast("Object", one), cast("Object", other)
        for key in sorted({*former, *latter}):
            within = f"{path}.{key}" if path else key
            yield from _differing(within, former.get(key), latter.get(key))
    elif one != other:
        yield path
