"""JSON in which a field that is there twice is an error: the first would be lost unseen."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn


def read_json(text: str | bytes) -> object:
    """Raises `ValueError`, or `RecursionError` for what is nested too deep."""
    return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)


def _once(fields: Sequence[tuple[str, object]]) -> dict[str, object]:
    read = dict(fields)
    if len(read) < len(fields):
        [(name, _)] = Counter(name for name, _ in fields).most_common(1)
        raise ValueError(f"{name[:64]} is there more than once")
    return read


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")
