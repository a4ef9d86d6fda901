"""Where two manifests differ, field by field."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import msgspec

from schemas.api.models import FieldChange
from schemas.manifest import Manifest

Plain: TypeAlias = Mapping[str, Any]


def differences(before: Manifest | None, after: Manifest | None) -> tuple[FieldChange, ...]:
    """Every field that differs, by path, as in `engine.maxModelLen` or `env[0].value`.

    Beside no manifest, the other's every field does.
    """
    return tuple(_walk("", _plain(before), _plain(after)))


def _plain(manifest: Manifest | None) -> Plain:
    return {} if manifest is None else msgspec.to_builtins(manifest)


def _walk(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if before == after:
        return
    if _is_object(before, after):
        names: set[str] = {*(before or {}), *(after or {})}
        for name in sorted(names):
            yield from _walk(_below(path, name), _of(before, name), _of(after, name))
    elif _is_list(before, after):
        for index, (one, other) in enumerate(zip_longest(before or (), after or ())):
            yield from _walk(f"{path}[{index}]", one, other)
    else:
        yield FieldChange(path, before, after)


def _is_object(before: Any, after: Any) -> bool:
    """Whether both are objects, or one is and the other is not said."""
    said = [one for one in (before, after) if one is not None]
    return all(isinstance(one, Mapping) for one in said)


def _is_list(before: Any, after: Any) -> bool:
    said = [one for one in (before, after) if one is not None]
    return all(isinstance(one, Sequence) and not isinstance(one, str) for one in said)


def _of(object: Plain | None, name: str) -> Any:
    return None if object is None else object.get(name)


def _below(path: str, name: str) -> str:
    """A label's key may hold dots of its own, so it is put in brackets."""
    if not path:
        return name
    return f"{path}[{name}]" if "." in name or "/" in name else f"{path}.{name}"
