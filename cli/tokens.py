"""`mllm tokens`: who may do what."""

import re
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter

from cli.client import segment
from cli.confirming import confirm
from cli.failures import Failure
from cli.job_rows import since
from cli.parameters import Duration, Yes
from cli.quantities import duration
from cli.session import Here, Session
from cli.tables import Column, View
from schemas.api.tokens import IssueBody, RotateBody, TokenIssued, TokenRow
from schemas.bearer import token_id_and_hash
from schemas.token import Scope

app = App(name="tokens", help="Issue, rotate and revoke access tokens.")

ID = re.compile(r"[A-Za-z0-9]{1,64}")
NO_SECRET = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}|b[0-9a-f]{40}|[A-Za-z0-9]{1,15}")
"""The id of a token that was issued, or of one that an operator made, or too short for a secret."""


def _status(row: TokenRow) -> str:
    if row.status == "valid" and row.expires_at and row.expires_at <= datetime.now(UTC):
        return "expired"
    return row.status


def _expires(row: TokenRow) -> str:
    if row.expires_at is None:
        return "never"
    left = (row.expires_at - datetime.now(UTC)).total_seconds()
    return f"in {duration(left)}" if left > 0 else f"{duration(-left)} ago"


TOKENS: View[TokenRow] = View(
    "token",
    lambda row: row.id,
    (
        Column("TOKEN", lambda row: row.id),
        Column("NAME", lambda row: row.name),
        Column("STATUS", _status),
        Column("SCOPES", lambda row: ",".join(row.scopes)),
        Column("NAMESPACES", lambda row: ",".join(row.namespaces)),
        Column("EXPIRES", _expires),
        Column("AGE", lambda row: since(row.issued_at)),
        Column("ISSUED BY", lambda row: row.issued_by, wide=True),
        Column("ROTATED", lambda row: since(row.rotated_at), wide=True),
        Column("REVOKED", lambda row: since(row.revoked_at), wide=True),
    ),
)


@app.command(name="list")
def list_(*, limit: int = 0, session: Here) -> None:
    """List tokens; never their secrets.

    Parameters
    ----------
    limit
        At most this many; 0 for all.
    """
    session.printer.rows(session.gateway.rows("/tokens", TokenRow, limit).rows, TOKENS, "no tokens")


@app.command
def issue(
    name: str,
    /,
    *,
    scope: Annotated[tuple[Scope, ...], Parameter(required=True)],
    in_: Annotated[tuple[str, ...], Parameter(name="--in")] = (),
    expires_in: Duration | None = None,
    session: Here,
) -> None:
    """Issue a token, and print it: this once and never again.

    Parameters
    ----------
    name
        What it is for, for people.
    scope
        What it may do; may be given several times.
    in_
        A namespace it may use, * for every one; may be given several times. The present one unless
        given.
    expires_in
        How long it is good for (90d, 12h).
    """
    body = IssueBody(
        name=name,
        scopes=scope,
        namespaces=in_ or (session.context.namespace,),
        expires_in=_seconds(expires_in),
    )
    _show(session, session.gateway.send("POST", "/tokens", TokenIssued, body))


@app.command
def rotate(token: str, /, *, expires_in: Duration | None = None, session: Here) -> None:
    """Give a token a new secret, and print it. The old one stops at once.

    Parameters
    ----------
    token
        The token's id, or token/ID. Of a whole token only the id is sent.
    expires_in
        How long it is good for (90d, 12h).
    """
    path = f"/tokens/{segment(_id(token))}/rotate"
    body = RotateBody(_seconds(expires_in))
    _show(session, session.gateway.send("POST", path, TokenIssued, body))


@app.command
def revoke(token: str, /, *, yes: Yes = False, session: Here) -> None:
    """End a token for good, everywhere at once.

    Parameters
    ----------
    token
        The token's id, or token/ID. Of a whole token only the id is sent.
    """
    id = _id(token)
    confirm(session, f"revoke token {id} for good", yes)
    session.gateway.tell("DELETE", f"/tokens/{segment(id)}")
    session.hint(f"token {id} is revoked")


def _id(text: str) -> str:
    """The id in `token/ID`, or of a whole token: nobody needs to send a secret to name it.

    What could be a secret is taken for one. An id that looks like one is said as `token/ID`.
    """
    id = text.removeprefix("token/")
    shape = NO_SECRET if id == text else ID
    return id if shape.fullmatch(id) else token_id_and_hash(id)[0]


def _seconds(lifetime: float | None) -> int | None:
    return None if lifetime is None else int(lifetime)


def _show(session: Session, issued: TokenIssued) -> None:
    if issued.token is None:
        raise Failure(
            f"token {issued.id} is there, but the answer that held its secret was lost",
            f"mllm tokens rotate {issued.id}",
        )
    session.printer.value(issued, issued.token)
    session.hint("keep it: it is not shown again")
