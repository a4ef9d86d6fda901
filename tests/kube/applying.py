"""Server-side apply: who manages which field, and what becomes of an object that several apply.

Fields are paths to leaves. Lists are leaves as a whole, unless their entries have keys, and so are
some maps.
"""

from copy import deepcopy
from typing import Any

from tests.kube.answers import field_conflict
from tests.kube.plain import Json, as_list, as_map
from tests.kube.resources import KEYED, WHOLE, part

Path = tuple[str, ...]
Managers = dict[tuple[str, str], set[Path]]
"""Fields, by manager and operation (`Apply` or `Update`)."""


def applied(live: Json, config: Json, manager: str, managers: Managers, *, force: bool) -> Json:
    """`live` with `config` applied by `manager`; `managers` is brought up to date with it.

    Raises the conflict that the server would, leaving both as they were.
    """
    before, wanted = leaves(live), leaves(config)
    changed = {path for path, value in wanted.items() if before.get(path) != value}
    me = (manager, "Apply")
    theirs = [
        (_named(owner, live["apiVersion"]), "".join(map(_shown, path)))
        for owner, fields in sorted(managers.items())
        if owner != me
        for path in sorted(fields & changed, key=_order)
    ]
    if theirs and not force:
        raise field_conflict(theirs)
    for owner, fields in managers.items():
        if owner != me:
            fields -= changed
    dropped = managers.get(me, set()) - wanted.keys()
    managers[me] = set(wanted)
    kept = {path for fields in managers.values() for path in fields}
    return _merged(live, wanted, dropped - kept)


def updated(before: Json, after: Json, manager: str, managers: Managers) -> None:
    """Somebody wrote the object as it is `after`, in another way: what they changed is theirs."""
    old, new = leaves(before), leaves(after)
    changed = {path for path, value in new.items() if old.get(path) != value}
    for fields in managers.values():
        fields -= changed | (old.keys() - new.keys())
    managers.setdefault((manager, "Update"), set()).update(changed)


def managed_fields(managers: Managers, api_version: str) -> list[Json]:
    return [
        {
            "manager": manager,
            "operation": operation,
            "apiVersion": api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": _nested(fields),
        }
        for (manager, operation), fields in managers.items()
        if fields
    ]


def leaves(said: Json) -> dict[Path, Any]:
    """Everything in an object that somebody can manage."""
    meta = said.get("metadata", {})
    part = {
        "metadata": {key: meta[key] for key in ("labels", "annotations") if key in meta},
        "spec": said.get("spec", {}),
    }
    return {path: value for path, value in _leaves((), part) if value != {} or len(path) > 1}


def _leaves(path: Path, said: Any) -> list[tuple[Path, Any]]:
    entries, parts = as_list(said), as_map(said)
    if path and path[-1] in KEYED and entries is not None:
        parts = {part(path[-1], entry): entry for entry in entries}
    if parts and not (path and path[-1] in WHOLE):
        return [leaf for key, value in parts.items() for leaf in _leaves((*path, key), value)]
    return [(path, said)]


def _merged(live: Json, wanted: dict[Path, Any], dropped: set[Path]) -> Json:
    result = deepcopy(live)
    for path in sorted(dropped, key=lambda path: (path[-1] in KEYED.values(), path)):
        _drop(result, path)
    for path, value in wanted.items():
        _put(result, path, value)
    return result


def _put(said: Json, path: Path, value: Any) -> None:
    at, field = said, ""
    for key in path[:-1]:
        at = _within(at, key, field)
        field = key
    at[path[-1]] = deepcopy(value)


def _within(at: Any, key: str, field: str) -> Any:
    """What is under `key`, made if need be; `at` is what is under `field`."""
    entries = as_list(at)
    if entries is None:
        return at.setdefault(key, [] if key in KEYED else {})
    if not any(part(field, entry) == key for entry in entries):
        entries.append({KEYED[field]: key.partition('="')[2].removesuffix('"]')})
    return next(entry for entry in entries if part(field, entry) == key)


def _drop(at: Any, path: Path, field: str = "") -> None:
    """Remove a leaf, and whatever becomes empty around it. Keys of entries are dropped last."""
    entries, key = as_list(at), path[0]
    if entries is not None:
        for found in [entry for entry in entries if part(field, entry) == key]:
            if path[1] != KEYED[field]:
                _drop(found, path[1:], key)
            elif len(found) == 1:
                entries.remove(found)
    elif key in at:
        if len(path) > 1:
            _drop(at[key], path[1:], key)
        if len(path) == 1 or at[key] in ({}, []):
            del at[key]


def _named(owner: tuple[str, str], api_version: str) -> str:
    manager, operation = owner
    return f'"{manager}"' + (f" using {api_version}" if operation == "Update" else "")


def _shown(step: str) -> str:
    return step if step.startswith("[") else f".{step}"


def _order(path: Path) -> list[tuple[bool, str]]:
    """What is at a level comes before what is below it."""
    return [(at + 1 < len(path), step) for at, step in enumerate(path)]


def _nested(fields: set[Path]) -> Json:
    tree: Json = {}
    for path in fields:
        at = tree
        for step in path:
            at = at.setdefault(f"f:{step}", {})
    return tree
