"""What can go wrong while fetching, as callers see it: a stable code, a text, and what to do next.

Texts name files, hosts and figures; never a token, a header or a query string.
"""

from schemas.message import Rejected


class FetchError(Rejected):
    """A fetch that ended early.

    `retryable` says whether a later attempt may succeed with nothing changed by anyone;
    `retry_after` (seconds) is the server's own wish, if it stated one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        **details: object,
    ) -> None:
        super().__init__(code, message, **details)
        self.retryable = retryable
        self.retry_after = retry_after


class FetchFailed(FetchError):
    """The server answers, but not with the bytes that were promised."""

    def __init__(
        self, message: str, *, retryable: bool = True, retry_after: float | None = None
    ) -> None:
        super().__init__("fetch_failed", message, retryable=retryable, retry_after=retry_after)


class HubUnreachable(FetchError):
    """No connection to the server, however often it was tried."""

    def __init__(self, message: str) -> None:
        super().__init__("hub_unreachable", message, retryable=True)


class NotAllowed(FetchError):
    """The server refuses this account: `gated` when a licence has to be accepted first."""

    def __init__(self, message: str, *, gated: bool = False) -> None:
        code = "gated" if gated else "not_allowed"
        super().__init__(code, message, remedy="check the token that --token-secret names")
        self.gated = gated


class NotFound(FetchError):
    """The repository, its commit or one of its files is not there (or is private)."""

    def __init__(self, message: str) -> None:
        super().__init__("not_found", message)


class NoSpace(FetchError):
    """Going on would leave less than the reserve free. Bytes."""

    def __init__(self, needed: int, free: int, reserve: int) -> None:
        super().__init__(
            "no_space",
            f"{needed:,} more bytes are needed where {free:,} are free and {reserve:,} stay so",
            needed=needed,
            free=free,
            reserve=reserve,
        )


class VerificationFailed(FetchError):
    """A file is not what the Hub says it is, although it was fetched twice."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__("verification_failed", f"{path} is not as published: {why}", path=path)
        self.path = path


class UnsafePath(FetchError):
    """A file name that could leave its directory, or that cannot stand beside another one."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__("unsafe_path", f"unsafe file name {path!r}: {why}", path=path)
        self.path = path


class Conflict(FetchError):
    """Something else is where the weights should go."""

    def __init__(self, message: str) -> None:
        super().__init__("conflict", message)


class Fenced(FetchError):
    """The lease is lost: somebody else may be working in our place."""

    def __init__(self, message: str = "the lease is lost") -> None:
        super().__init__("fenced", message)


class Stopped(FetchError):
    """The caller asked for an end."""

    def __init__(self, reason: str) -> None:
        super().__init__("stopped", reason)


class XetFailed(FetchError):
    """The Xet child hung, died or refused; its files are to be had by plain HTTP."""

    def __init__(self, reason: str) -> None:
        super().__init__("xet_failed", reason, retryable=True)


class Halted(Exception):
    """The gate is closed, and knows why. Never leaves the engine."""


class Setback(Exception):
    """One request failed in a way that another request may mend. Never leaves the engine.

    `wait` is the server's Retry-After in seconds; `reached` says whether the server answered.
    """

    def __init__(self, why: str, *, wait: float | None = None, reached: bool = True) -> None:
        super().__init__(why)
        self.wait = wait
        self.reached = reached


class RangeIgnored(Exception):
    """The server sent the whole file where a range was asked for. Never leaves the engine."""
