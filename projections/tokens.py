"""Access tokens, for people to see. Who may enter is decided on the log, never here."""

from collections.abc import Iterable
from typing import assert_never

import msgspec

from projections.fold import PerAggregate, Projection
from projections.rows import Part, one, page_of
from projections.table import Db, Table
from schemas.api.problem import Page
from schemas.api.tokens import TokenRow
from schemas.log import Commit
from schemas.token import AGGREGATE, TokenEvent, TokenIssued, TokenRevoked, TokenRotated

set_ = msgspec.structs.replace


def evolve(row: TokenRow | None, event: TokenEvent, commit: Commit) -> TokenRow | None:
    if isinstance(event, TokenIssued):
        return _issued(event, commit)
    if row is None:
        return None
    match event:
        case TokenRotated(expires_at=expires_at):
            return set_(row, rotated_at=commit.at, expires_at=expires_at)
        case TokenRevoked():
            return set_(row, status="revoked", revoked_at=commit.at)
        case _:
            assert_never(event)


def _issued(event: TokenIssued, commit: Commit) -> TokenRow:
    return TokenRow(
        id=event.token,
        name=event.name,
        scopes=event.scopes,
        namespaces=event.namespaces,
        status="valid",
        issued_at=commit.at,
        issued_by=commit.actor,
        updated_at=commit.at,
        position=commit.position,
        expires_at=event.expires_at,
    )


fold = PerAggregate(AGGREGATE, evolve, key=lambda stream: (stream.id,))
tokens = Table(
    name="tokens",
    row=TokenRow,
    key=("id",),
    order=("issued_at", "id"),
    changes=fold.changes,
)
projection = Projection("tokens", (tokens,), __file__, TokenEvent)


async def page(db: Db, within: Iterable[str] | None, part: Part) -> Page[TokenRow]:
    """Newest first: those for namespaces that are all `within` these, or every token.

    Raises `Rejected` with `invalid_cursor`.
    """
    namespaces = None if within is None else msgspec.json.encode(sorted(within)).decode()
    return await page_of(db, tokens, [("namespaces <@ %s::jsonb", namespaces)], part)


async def get(db: Db, id: str) -> TokenRow | None:
    return await one(db, tokens, (id,))
