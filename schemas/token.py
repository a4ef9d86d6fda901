"""What may be asked of an access token, and what may become true of it.

A token's secret is shown once and never stored; its sha256 is. Secrets are 256 random bits, so a
fast hash loses nothing. Types and field names below are the stored format: add, never rename.
"""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from schemas.message import Command, Event
from schemas.names import END, Label, NamespaceOrAll

Scope: TypeAlias = Literal[
    "read",
    "jobs:write",
    "runtime:write",
    "catalog:write",
    "secrets:read",
    "secrets:write",
    "admin",
]
TokenId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,64}$" + END)]

AGGREGATE = "token"


class IssueToken(Command):
    token: TokenId
    name: Label
    hash: str
    scopes: tuple[Scope, ...]
    namespaces: tuple[NamespaceOrAll, ...]
    expires_at: datetime | None = None


class RotateToken(Command):
    """A new secret; the old one stops at once. `at` is now: an expired token is not rotated.

    Without `expires_at` the token goes on to expire when it would have.
    """

    token: TokenId
    hash: str
    at: datetime
    expires_at: datetime | None = None


class RevokeToken(Command):
    token: TokenId


TokenCommand: TypeAlias = IssueToken | RotateToken | RevokeToken


class TokenIssued(Event, tag="token.issued"):
    token: str
    name: str
    hash: str
    scopes: tuple[Scope, ...]
    namespaces: tuple[str, ...]
    expires_at: datetime | None = None


class TokenRotated(Event, tag="token.rotated"):
    token: str
    hash: str
    expires_at: datetime | None = None


class TokenRevoked(Event, tag="token.revoked"):
    token: str


TokenEvent: TypeAlias = TokenIssued | TokenRotated | TokenRevoked
