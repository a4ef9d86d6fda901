"""HTTP for access tokens. A secret is in one answer, once, and nowhere else."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeAlias

import msgspec
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from gateway.admission import AnyRequest, needs
from gateway.auth import Access, Authenticator
from gateway.caller import From
from gateway.idempotency import remember_instead
from gateway.parameters import Cursor, Limit, TokenPath
from gateway.ports import Handed
from gateway.reading import Fresh, Models
from projections import tokens
from projections.rows import Part
from schemas import token as events
from schemas.api.problem import Page
from schemas.api.tokens import IssueBody, RotateBody, TokenIssued, TokenRow
from schemas.bearer import bearer_of, token_id_and_hash
from schemas.log import Outcome
from schemas.message import Rejected
from schemas.names import SYSTEM
from schemas.token import IssueToken, RevokeToken, RotateToken

Authentic: TypeAlias = NamedDependency[SkipValidation[Authenticator]]


class Secret(NamedTuple):
    """A secret that a token was just given: shown as `bearer`, kept as `hash`."""

    token: str
    bearer: str
    hash: str


def new_secret(token: str) -> Secret:
    bearer = bearer_of(token, secrets.token_hex(32))
    return Secret(token, bearer, token_id_and_hash(bearer)[1])


class Tokens(Controller):
    """Whoever administers some namespaces administers the tokens for these, and no others."""

    path = "/tokens"
    tags = ("tokens",)

    @get(opt=needs("admin"))
    async def list_(
        self,
        caller: From,
        models: Models,
        fresh: Fresh,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Page[TokenRow]:
        """List tokens, newest first: those whose namespaces are all the caller's."""
        within = None if caller.access.everywhere else caller.access.namespaces
        async with models.open([tokens.projection.name], fresh) as view:
            return await tokens.page(view.db, within, Part(limit, cursor))

    @post(opt=needs("admin"), status_code=201)
    async def issue(
        self,
        caller: From,
        ports: Handed,
        request: AnyRequest,
        authenticator: Authentic,
        data: JSONBody[IssueBody],
    ) -> TokenIssued:
        """Issue a token. This answer is the only place its secret is ever shown."""
        if SYSTEM in data.namespaces:
            raise Rejected("forbidden_namespace", f"{SYSTEM} is not given to anyone")
        _refuse_beyond(caller.access, data.namespaces)
        expires_at = _expiry(data.expires_in)
        secret = new_secret(caller.seed)
        command = IssueToken(
            secret.token, data.name, secret.hash, data.scopes, data.namespaces, expires_at
        )
        outcome = await ports.dispatch(command, caller.context(system=True))
        return _shown(request, authenticator, secret, outcome)

    @post("/{id:str}/rotate", opt=needs("admin"), status_code=200)
    async def rotate(
        self,
        id: TokenPath,
        caller: From,
        ports: Handed,
        request: AnyRequest,
        authenticator: Authentic,
        data: JSONBody[RotateBody | None] = None,
    ) -> TokenIssued:
        """Give a token another secret; the one before stops at once."""
        await _refuse_strange(authenticator, caller.access, id)
        expires_at = _expiry(data.expires_in if data else None)
        secret = new_secret(id)
        command = RotateToken(id, secret.hash, datetime.now(UTC), expires_at)
        outcome = await ports.dispatch(command, caller.context(system=True))
        return _shown(request, authenticator, secret, outcome)

    @delete("/{id:str}", opt=needs("admin"), status_code=200)
    async def revoke(
        self, id: TokenPath, caller: From, ports: Handed, authenticator: Authentic
    ) -> TokenIssued:
        """Revoke a token. It stops everywhere within a second."""
        await _refuse_strange(authenticator, caller.access, id)
        outcome = await ports.dispatch(RevokeToken(id), caller.context(system=True))
        authenticator.hear(outcome.history)
        return TokenIssued(id, None, outcome.position)


def _expiry(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)


def _refuse_beyond(access: Access, namespaces: Sequence[str]) -> None:
    if not access.covers(namespaces):
        raise Rejected(
            "forbidden_namespace", "a token can not be for namespaces that yours is not for"
        )


async def _refuse_strange(authenticator: Authenticator, access: Access, token: str) -> None:
    """Another's token is as unknown as one that never was."""
    credential = await authenticator.credential(token)
    if credential is None or not access.covers(tuple(credential.access.namespaces)):
        raise Rejected("not_found", f"no token {token}")


def _shown(
    request: AnyRequest, authenticator: Authenticator, secret: Secret, outcome: Outcome
) -> TokenIssued:
    """The answer with the secret; and, to be remembered, the same without.

    Had the command been carried out before, with its answer lost, the log has another secret's
    hash, and nobody knows that secret any more.
    """
    authenticator.hear(outcome.history)
    assert outcome.commit is not None, "another secret is always a change"
    event = outcome.commit.events[0]
    assert isinstance(event, events.TokenIssued | events.TokenRotated)
    answer = TokenIssued(secret.token, None, outcome.position, event.expires_at)
    remember_instead(request, msgspec.json.encode(answer))
    if event.hash != secret.hash:
        return answer
    return msgspec.structs.replace(answer, token=secret.bearer)
