"""Label and field selectors, as a query says them."""

import re
from collections.abc import Callable
from typing import Any

from tests.kube.plain import Json, as_map

Chosen = Callable[[Json], bool]


def chosen(labels: str, fields: str) -> Chosen:
    """Whether an object is selected."""
    tests = [_label(one) for one in re.split(r",(?![^(]*\))", labels) if one]
    tests += [_field(one) for one in fields.split(",") if one]
    return lambda said: all(test(said) for test in tests)


def _label(term: str) -> Chosen:
    term = term.strip()
    if found := re.fullmatch(r"(\S+) (in|notin) \(([^)]*)\)", term):
        key, how, values = found[1], found[2], {one.strip() for one in found[3].split(",")}
        return lambda said: (_labels(said).get(key) in values) == (how == "in")
    if found := re.fullmatch(r"([^=!]+)(==|=|!=)([^=!]*)", term):
        key, how, value = found[1].strip(), found[2], found[3].strip()
        return lambda said: (_labels(said).get(key) == value) == (how != "!=")
    if term.startswith("!"):
        return lambda said: term[1:] not in _labels(said)
    return lambda said: term in _labels(said)


def _field(term: str) -> Chosen:
    found = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", term.strip())
    assert found is not None, f"the server would not understand {term}"
    path, how, value = found[1].split("."), found[2], found[3]
    return lambda said: (str(_at(said, path)) == value) == (how != "!=")


def _labels(said: Json) -> Json:
    return said["metadata"].get("labels") or {}


def _at(said: Json, path: list[str]) -> Any:
    at: Any = said
    for key in path:
        at = (as_map(at) or {}).get(key, "")
    return at
