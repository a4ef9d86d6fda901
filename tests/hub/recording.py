"""What clients asked of the hub, and how much of it they got."""

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import inf

from cli.loopback_hub.message import Handler, Hangup, Request, Response
from cli.loopback_hub.route import Kind, route_of


@dataclass
class Exchange:
    """One request and its answer. Times are monotonic; `sent` counts body bytes as they leave."""

    host: str
    method: str
    target: str  # the path and query as they came
    kind: Kind
    repo: str
    path: str
    range: str | None
    authorization: str | None  # digest of the header's value
    started: float = field(default_factory=time.monotonic)
    ended: float = inf
    status: int | None = None  # None until answered, and for ever if it never was
    sent: int = 0

    def carries(self, token: str) -> bool:
        return self.authorization == digest(f"Bearer {token}")


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def peak(exchanges: Iterable[Exchange]) -> int:
    """How many of these were under way at once, at most."""
    changes = [(e.started, 1) for e in exchanges] + [(e.ended, -1) for e in exchanges]
    under_way = most = 0
    for _, change in sorted(changes):
        under_way += change
        most = max(most, under_way)
    return most


class Recording:
    """Every exchange with a handler, in the order the requests came."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.exchanges: list[Exchange] = []

    def select(self, *kinds: Kind, path: str = "*", method: str = "*") -> Sequence[Exchange]:
        """Exchanges of these kinds (of all, if none is named) whose path and method match."""
        return [
            exchange
            for exchange in list(self.exchanges)
            if (not kinds or exchange.kind in kinds)
            and fnmatchcase(exchange.path, path)
            and fnmatchcase(exchange.method, method)
        ]

    def sent(self, path: str = "*") -> int:
        """Bytes of file content that have left so far."""
        return sum(exchange.sent for exchange in self.select("cdn", "cache", path=path))

    def __call__(self, request: Request) -> Response:
        exchange = self._begin(request)

        def sent(count: int) -> None:
            exchange.sent += count

        def ended() -> None:
            exchange.ended = time.monotonic()

        try:
            response = self._handler(request)
        except Hangup:
            ended()
            raise
        exchange.status = response.status
        return replace(response, sent=sent, ended=ended)

    def _begin(self, request: Request) -> Exchange:
        route = route_of(request.path)
        secret = request.headers.get("authorization")
        exchange = Exchange(
            host=request.host,
            method=request.method,
            target=request.target,
            kind=route.kind,
            repo=route.repo,
            path=route.path,
            range=request.headers.get("range"),
            authorization=digest(secret) if secret else None,
        )
        self.exchanges.append(exchange)
        return exchange
