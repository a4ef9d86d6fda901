"""Deciding about one access token. Pure: no clock, no network, no logging."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, assert_never

from commands.decider import Decider
from schemas.message import Rejected
from schemas.token import (
    AGGREGATE,
    IssueToken,
    RevokeToken,
    RotateToken,
    TokenCommand,
    TokenEvent,
    TokenIssued,
    TokenRevoked,
    TokenRotated,
)


@dataclass(frozen=True)
class Token:
    status: Literal["absent", "valid", "revoked"] = "absent"
    expires_at: datetime | None = None


def decide(token: Token, command: TokenCommand) -> Sequence[TokenEvent]:
    match command:
        case IssueToken():
            return _issue(token, command)
        case RotateToken():
            return _rotate(token, command)
        case RevokeToken(token=id):
            if token.status == "absent":
                raise Rejected("not_found", f"no token {id}")
            return [] if token.status == "revoked" else [TokenRevoked(id)]
        case _:
            assert_never(command)


def _issue(token: Token, command: IssueToken) -> Sequence[TokenEvent]:
    if token.status != "absent":
        raise Rejected("conflict", f"token {command.token} exists")
    return [
        TokenIssued(
            command.token,
            command.name,
            command.hash,
            command.scopes,
            command.namespaces,
            command.expires_at,
        )
    ]


def _rotate(token: Token, command: RotateToken) -> Sequence[TokenEvent]:
    if token.status == "absent":
        raise Rejected("not_found", f"no token {command.token}")
    if token.status == "revoked":
        raise Rejected("conflict", f"token {command.token} is revoked; issue another")
    if token.expires_at is not None and token.expires_at <= command.at:
        raise Rejected("conflict", f"token {command.token} has expired; issue another")
    expires_at = command.expires_at or token.expires_at
    return [TokenRotated(command.token, command.hash, expires_at)]


def evolve(token: Token, event: TokenEvent) -> Token:
    match event:
        case TokenIssued(expires_at=expires_at):
            return Token("valid", expires_at)
        case TokenRotated(expires_at=expires_at):
            return replace(token, expires_at=expires_at)
        case TokenRevoked():
            return replace(token, status="revoked")
        case _:
            assert_never(event)


decider = Decider(AGGREGATE, Token(), decide, evolve, lambda command: command.token)
