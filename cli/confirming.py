"""Asking before something is lost."""

import sys

from cli.failures import Failure, Misused
from cli.session import Session


def confirm(session: Session, what: str, yes: bool) -> None:
    """Return if `what` is wanted: by --yes, or by someone who is there and says so.

    Raises `Misused` when nobody is there to be asked, `Failure` when the answer is no.
    """
    if yes:
        return
    if not session.interactive:
        raise Misused(f"this would {what}, and nobody is there to be asked", "use --yes")
    print(f"This will {what}. Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("nothing was done")
