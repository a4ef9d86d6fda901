"""Errors and pages: the two shapes that every route shares."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from schemas.message import Value

T = TypeVar("T")


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An error (RFC 9457). `code` is stable; `remedy` says what to do about it."""

    type: str
    title: str
    status: int
    code: str
    detail: str = ""
    remedy: str = ""
    request_id: str = ""
    errors: tuple[str, ...] = ()
    details: Mapping[str, Any] = {}


class Page(Value, Generic[T]):
    """One page of a list. `next_cursor` asks for the one after it; None on the last."""

    items: tuple[T, ...]
    next_cursor: str | None = None
