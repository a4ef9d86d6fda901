"""What networks, proxies and servers do to downloads, each as a value to arm the hub with."""

from dataclasses import dataclass, replace

from cli.loopback_hub.message import Handler, Hangup, Request, Response, whole
from cli.loopback_hub.replies import Refused, redirect
from tests.hub.arming import Armed, Fault, Preventing, Spoiling
from tests.hub.bodies import bytes_of, garbled, interrupted, slowed

EVIL_NAMES = (
    "../escaped.txt",
    "nested/../../escaped.txt",
    "/absolute.txt",
    "nul\0.txt",
    "back\\..\\..\\slash.txt",
    "n" * 300 + ".txt",
    "./dot.txt",
    "new\nline.txt",
)
"""Paths a repository may list, and nobody should write to; `Repo` takes them like any other."""


@dataclass(frozen=True, kw_only=True)
class Cut(Spoiling):
    """Break the connection after a random number of bytes: at least one short of all of them."""

    after: tuple[int, int] = (1, 1 << 20)
    reset: bool = False

    def spoil(self, response: Response, request: Request, armed: Armed) -> Response:
        position = min(armed.chance.randint(*self.after), response.length - 1)

        def hang_up() -> None:
            raise Hangup(self.reset)

        return replace(response, body=interrupted(response.body, position, hang_up))


@dataclass(frozen=True, kw_only=True)
class Stall(Spoiling):
    """Send some bytes, then nothing more until disarmed."""

    after: int = 1

    def spoil(self, response: Response, request: Request, armed: Armed) -> Response:
        body = interrupted(response.body, self.after, lambda: armed.hold(request))
        return replace(response, body=body)


@dataclass(frozen=True, kw_only=True)
class Slow(Spoiling):
    """Send so many bytes a second on each connection, and the rest at once when disarmed."""

    bytes_per_second: int

    def spoil(self, response: Response, request: Request, armed: Armed) -> Response:
        body = slowed(response.body, self.bytes_per_second, lambda: armed.armed)
        return replace(response, body=body)


@dataclass(frozen=True, kw_only=True)
class Garble(Spoiling):
    """Send as many bytes as there should be, the first of them wrong."""

    def spoil(self, response: Response, request: Request, armed: Armed) -> Response:
        return replace(response, body=garbled(response.body))


@dataclass(frozen=True, kw_only=True)
class Truncate(Spoiling):
    """Answer with the first half, in a message that is well-formed and claims to be complete."""

    def spoil(self, response: Response, request: Request, armed: Armed) -> Response:
        content = b"".join(bytes_of(piece) for piece in response.body)
        half = content[: len(content) // 2]
        return replace(response, length=len(half), body=whole(half))


@dataclass(frozen=True, kw_only=True)
class Refuse(Preventing):
    """Answer with a status: 429 or 503, perhaps with a time to come back at."""

    status: int
    retry_after: int | None = None  # seconds

    def prevent(self, request: Request, handler: Handler, armed: Armed) -> Response:
        refusal = Refused(self.status, "", "Not now, by request of a test")
        if self.retry_after is not None:
            refusal.headers["Retry-After"] = str(self.retry_after)
        return refusal.response()


@dataclass(frozen=True, kw_only=True)
class Drop(Preventing):
    """Break the connection instead of answering."""

    reset: bool = False

    def prevent(self, request: Request, handler: Handler, armed: Armed) -> Response:
        raise Hangup(self.reset)


@dataclass(frozen=True, kw_only=True)
class Hang(Preventing):
    """Do not answer until disarmed."""

    def prevent(self, request: Request, handler: Handler, armed: Armed) -> Response:
        armed.hold(request)
        return handler(request)


@dataclass(frozen=True, kw_only=True)
class RedirectLoop(Preventing):
    """Send the client back to where it is."""

    def prevent(self, request: Request, handler: Handler, armed: Armed) -> Response:
        return redirect(302, request.target, {"X-Repo-Commit": "0" * 40})


@dataclass(frozen=True, kw_only=True)
class IgnoreRange(Fault):
    """Answer 200 with the whole file, whatever part of it was asked for."""

    def meet(self, request: Request, handler: Handler, armed: Armed) -> Response:
        if "range" not in request.headers or not armed.take():
            return handler(request)
        others = {name: text for name, text in request.headers.items() if name != "range"}
        return handler(replace(request, headers=others))


@dataclass(frozen=True, kw_only=True)
class WrongCommit(Fault):
    """Claim that an answer belongs to another commit than the one asked for."""

    commit: str = "0" * 40

    def meet(self, request: Request, handler: Handler, armed: Armed) -> Response:
        response = handler(request)
        if "X-Repo-Commit" not in response.headers or not armed.take():
            return response
        return replace(response, headers={**response.headers, "X-Repo-Commit": self.commit})
