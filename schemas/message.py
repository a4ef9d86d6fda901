"""The two kinds of message, and what surrounds a command. None of them knows how it travels."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True)
class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A wish, named in the imperative. It may be refused, so it is strict about its fields."""


@dataclass_transform(frozen_default=True)
class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", rename="camel"):
    """A fact, named in the past tense. It has happened, so old readers tolerate new fields.

    `v` is the version of the stored form. Fields are only ever added, with a default; a change
    that is more than that raises `v`, in a keyword-only base of the class, and adds an upcaster
    in `schemas/upcasting.py`.
    """

    v: int = 1


@dataclass_transform(frozen_default=True)
class Value(msgspec.Struct, frozen=True, rename="camel"):
    """Plain data that travels inside commands, events and answers."""


class Context(Value, kw_only=True):
    """Who wished, why and when: everything about a command that its decider does not need.

    `command` names the wish: granting it twice is the same as granting it once. `correlation`
    is shared by everything one request led to; `causation` names what led here directly.
    """

    command: str
    at: datetime
    actor: str
    namespace: str = "default"
    correlation: str = ""
    causation: str = ""
    traceparent: str = ""


class Rejected(Exception):
    """A command the current state does not allow. Callers get `code`; people get the text.

    `details` are facts for the answer: the job that holds a target, the figures of a full disk.
    """

    def __init__(self, code: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.code = code
        self.details: Mapping[str, object] = details


def refuse_all(refusals: Iterable[Rejected]) -> None:
    """Raise what there is as one: with the code and the facts of the first, the texts and the
    remedies of all."""
    found = list(refusals)
    if found:
        remedies = dict.fromkeys(str(one.details.get("remedy") or "") for one in found)
        text, remedy = "; ".join(map(str, found)), "; ".join(filter(None, remedies))
        details = {**found[0].details, "remedy": remedy}
        raise Rejected(found[0].code, text, **details)
