"""Reading events as they were written, whenever that was. Stored bytes never change.

An event type whose stored form changed by more than a new field with a default has its version
raised and one upcaster here for each old version: a function from the old JSON to the next.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar, get_args

import msgspec

from schemas.message import Event

E_co = TypeVar("E_co", covariant=True)
E = TypeVar("E", bound=Event)

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}
"""(type, version) to what turns its JSON into that of version + 1."""


class UnknownEvent(Exception):
    """An event of a type or a version that this build does not know: a newer one wrote it."""


class Decode(Protocol[E_co]):
    def __call__(self, data: bytes, types: tuple[str, ...]) -> tuple[E_co, ...]: ...


class _Head(msgspec.Struct):
    v: int = 1


class EventDecoder(Generic[E]):
    """Decodes a commit's JSON array of events into the classes of one union."""

    def __init__(self, union: Any, upcasters: Mapping[tuple[str, int], Upcaster]) -> None:
        self._versions = {kind: _version(event) for kind, event in event_types(union).items()}
        self._old = frozenset(kind for kind, _ in upcasters)
        self._upcasters = upcasters
        self._all = msgspec.json.Decoder[tuple[E, ...]](tuple[union, ...])
        self._raw = msgspec.json.Decoder(list[msgspec.Raw])
        self._union = union

    def __call__(self, data: bytes, types: tuple[str, ...]) -> tuple[E, ...]:
        for kind in types:
            if kind not in self._versions:
                raise UnknownEvent(f"event type {kind} was written by a newer version")
        if self._old.isdisjoint(types):
            events = self._all.decode(data)
        else:
            stored = zip(types, self._raw.decode(data), strict=True)
            events = tuple(self._upcast(kind, raw) for kind, raw in stored)
        for kind, event in zip(types, events, strict=True):
            if event.v > self._versions[kind]:
                raise UnknownEvent(f"{kind} v{event.v} was written by a newer version")
        return events

    def _upcast(self, kind: str, raw: msgspec.Raw) -> E:
        version = msgspec.json.decode(raw, type=_Head).v
        event: dict[str, Any] = msgspec.json.decode(raw)
        while upcaster := self._upcasters.get((kind, version)):
            version += 1
            event = upcaster(event) | {"v": version}
        decoded: E = msgspec.convert(event, self._union)
        return decoded


def event_types(union: Any) -> Mapping[str, type[Event]]:
    """The event classes of a union, or of one class alone, by their stored type."""
    members = (union,) if isinstance(union, type) else get_args(union)
    return {member.__struct_config__.tag: member for member in members}


def _version(event: type[Event]) -> int:
    """The version of the stored form that the class has: what its `v` is unless said."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(event)}
    return int(defaults["v"])


def event_decoder(
    union: Any, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS
) -> EventDecoder[Any]:
    return EventDecoder(union, upcasters)
