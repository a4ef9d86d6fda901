"""How events are shown."""

from typing import Any

import msgspec

from cli.quantities import size
from cli.tables import Column, View
from schemas.api.events import CloudEvent

SAID_ELSEWHERE = frozenset({"type", "v", "job", "target"})
NAMED = {"weights": "target", "model": "model", "alias": "alias"}
"""Aggregates whose ids are hashes, and the field that holds the name."""

LONGEST = 80


def gist(event: CloudEvent) -> str:
    """What the event says besides its type and subject: `attempt=1 phase=fetch`."""
    said = (f"{name}={_shown(name, value)}" for name, value in _fields(event).items())
    text = " ".join(said)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def subject(event: CloudEvent) -> str:
    """What the event is about: by its name, where the id is a hash of that."""
    aggregate, _, id = event.subject.partition("/")
    if aggregate not in NAMED:
        return event.subject
    said: dict[str, Any] = msgspec.json.decode(event.data)
    return f"{aggregate}/{said.get(NAMED[aggregate], id)}"


def _fields(event: CloudEvent) -> dict[str, str | int | float]:
    """The plain fields that are not told elsewhere. A count of nothing says nothing."""
    fields: dict[str, Any] = msgspec.json.decode(event.data)
    return {
        name: value
        for name, value in fields.items()
        if name not in SAID_ELSEWHERE
        and isinstance(value, str | int | float)
        and (value or name == "priority")
    }


def _shown(name: str, value: str | int | float) -> str:
    if name.lower().endswith(("bytes", "bytesdone", "bytestotal")) and isinstance(value, int):
        return size(value).replace(" ", "")
    if isinstance(value, str) and len(value) > 40:
        return value[:12] + "…" if value.isalnum() else repr(value)
    return str(value)


EVENTS: View[CloudEvent] = View(
    "event",
    lambda event: event.id,
    (
        Column("ID", lambda event: event.id),
        Column("TIME", lambda event: f"{event.time:%Y-%m-%d %H:%M:%S}"),
        Column("TYPE", lambda event: event.type),
        Column("SUBJECT", subject),
        Column("ACTOR", lambda event: event.actor),
        Column("CORRELATION", lambda event: event.correlationid, wide=True),
        Column("SAYING", gist, wide=True),
    ),
)
