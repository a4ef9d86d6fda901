"""Tokens and secrets as the API shows them. A token's secret is in exactly one answer, once."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from schemas.message import Value
from schemas.names import Label, NamespaceOrAll
from schemas.token import Scope

TokenStatus: TypeAlias = Literal["valid", "revoked"]
Lifetime = Annotated[int, Meta(ge=60, le=10 * 366 * 86400, description="seconds")]


class TokenRow(Value):
    id: str
    name: str
    scopes: tuple[Scope, ...]
    namespaces: tuple[str, ...]
    status: TokenStatus
    issued_at: datetime
    issued_by: str
    updated_at: datetime
    position: int
    expires_at: datetime | None = None
    rotated_at: datetime | None = None
    revoked_at: datetime | None = None


class IssueBody(Value, forbid_unknown_fields=True):
    name: Label
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1, max_length=10)]
    namespaces: Annotated[tuple[NamespaceOrAll, ...], Meta(min_length=1, max_length=100)] = (
        "default",
    )
    expires_in: Lifetime | None = None


class RotateBody(Value, forbid_unknown_fields=True):
    expires_in: Lifetime | None = None


class TokenIssued(Value):
    """`token` is the whole of it, `mllm_<id>_<secret>`; None when an idempotency key replays."""

    id: str
    token: str | None
    sequence: int
    expires_at: datetime | None = None


class SecretBody(Value, forbid_unknown_fields=True):
    value: Annotated[str, Meta(min_length=1, max_length=8192)]
