"""`mllm secrets`: values that jobs need and nobody reads. They come from stdin or a prompt, never
from the command line, where others could see them."""

import getpass
import sys

from cyclopts import App

from cli.client import segment
from cli.confirming import confirm
from cli.failures import Misused
from cli.job_rows import since
from cli.parameters import Secret, Yes
from cli.session import Here
from cli.tables import Column, View
from schemas.api.problem import Page
from schemas.api.tokens import SecretBody
from schemas.secrets import SecretInfo

app = App(name="secrets", help="Keep tokens of the Hub where jobs find them.")

SECRETS: View[SecretInfo] = View(
    "secret",
    lambda row: row.name,
    (Column("NAME", lambda row: row.name), Column("AGE", lambda row: since(row.updated_at))),
)


@app.command(name="list")
def list_(*, session: Here) -> None:
    """List the names of secrets."""
    found = session.gateway.get("/secrets", Page[SecretInfo]).items
    session.printer.rows(found, SECRETS, f"no secrets in namespace {session.context.namespace}")


@app.command(name="set")
def set_(name: Secret, /, *, session: Here) -> None:
    """Set a secret to what stdin says, or to what you type.

    Parameters
    ----------
    name
        What jobs call it.
    """
    value = _value(name)
    if not value:
        raise Misused("the value is empty", f"write it to stdin: mllm secrets set {name} < FILE")
    session.gateway.tell("PUT", f"/secrets/{segment(name)}", SecretBody(value))
    session.hint(f"secret {name} is set")


@app.command
def delete(name: Secret, /, *, yes: Yes = False, session: Here) -> None:
    """Delete a secret.

    Parameters
    ----------
    name
        What jobs call it.
    """
    confirm(session, f"delete the secret {name}", yes)
    session.gateway.tell("DELETE", f"/secrets/{segment(name)}")
    session.hint(f"secret {name} is deleted")


def _value(name: str) -> str:
    """Typed without echo where somebody is there, else all of stdin without its last line end."""
    if sys.stdin.isatty():
        return getpass.getpass(f"Value of {name}: ", sys.stderr)
    return sys.stdin.read().removesuffix("\n").removesuffix("\r")
