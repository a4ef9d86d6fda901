"""The gateway, as the command line sees it: what requests say, and what answers mean."""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Generic, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from cli.exits import Exit, of_problem
from cli.failures import Failure, Misused, OutOfReach
from cli.wire import Reply, Request, Wire
from schemas.api.problem import Page, Problem

T = TypeVar("T")
Query: TypeAlias = str | int | bool | Sequence[str] | None

REMEDIES: Mapping[int, str] = {
    403: "use a token with the scope and the namespace that this needs",
    404: "list what there is, and check --namespace",
    409: "see with `mllm jobs list` what is under way, and try again when it is over",
}
"""What to do about a refusal that does not say so itself, by its status."""

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
JSON = "application/json"
PAGE = 200
"""Rows to ask for at once."""


class Rows(NamedTuple, Generic[T]):
    """Rows of a list; `more` says that there are others."""

    rows: Sequence[T]
    more: bool


class Gateway:
    """A server, a token and a namespace. `timeout` (seconds) bounds each silence.

    Every method raises `Failure`: `OutOfReach`, or what the server refused with its exit code.
    """

    def __init__(self, server: str, token: str, namespace: str, timeout: float = 30.0) -> None:
        self.server = server
        self.namespace = namespace
        self._token = token
        self._wire = Wire(server, timeout)
        self._prefix = urlsplit(server).path.rstrip("/")
        self._traceparent = _traceparent()

    def patient(self, seconds: float) -> "Gateway":
        """The same on another connection, whose silences may last `seconds`."""
        other = copy(self)
        other._wire = Wire(self.server, seconds)
        return other

    def within(self, namespace: str) -> "Gateway":
        """The same about another namespace; `*` for a list of what is in all of them."""
        other = copy(self)
        other.namespace = namespace
        return other

    def get(self, path: str, into: type[T], **query: Query) -> T:
        return decoded(_granted(self.ask("GET", path, **query)), into)

    def send(self, method: str, path: str, into: type[T], body: object = None, **query: Query) -> T:
        """A write, and its answer. A lost answer is asked for again under the same key: the write
        happens once."""
        return decoded(self._write(method, path, body, query), into)

    def tell(self, method: str, path: str, body: object = None, **query: Query) -> None:
        """A write whose answer says nothing of use."""
        self._write(method, path, body, query)

    def rows(self, path: str, row: type[T], limit: int = 0, **query: Query) -> Rows[T]:
        """A list, page after page: at most `limit` rows of it; 0 means all."""
        if limit < 0:
            raise Misused("a limit can not be negative", "0 is for all")
        found: list[T] = []
        cursor: str | None = None
        page_type: type[Page[T]] = Page[row]  # type: ignore[valid-type]  # known at run time only
        while True:
            size = min(limit - len(found), PAGE) if limit else PAGE
            page = self.get(path, page_type, limit=size, cursor=cursor, **query)
            found.extend(page.items)
            cursor = page.next_cursor
            if cursor is None or (limit and len(found) >= limit):
                return Rows(found, cursor is not None)

    def ask(self, method: str, path: str, **query: Query) -> Reply:
        """A request whose refusal is an answer like any other."""
        return self._wire.ask(Request(method, self._target(path, query), self._headers(JSON)))

    def stream(
        self, path: str, accept: str, headers: Mapping[str, str], **query: Query
    ) -> Iterator[bytes]:
        """The lines of an answer that does not end. They raise the connection's own errors."""
        sent = {**self._headers(accept), **headers}
        answer = self._wire.stream(Request("GET", self._target(path, query), sent))
        if isinstance(answer, Reply):
            raise refusal(answer)
        return answer

    def hang_up(self) -> None:
        """End a stream that another thread is reading."""
        self._wire.hang_up()

    def close(self) -> None:
        """Let go of the connection, until the next request."""
        self._wire.close()

    def _write(self, method: str, path: str, body: object, query: Mapping[str, Query]) -> Reply:
        headers = self._headers(JSON) | {"Idempotency-Key": ulid()}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = JSON
        request = Request(method, self._target(path, query), headers, content)
        return _granted(self._wire.ask(request))

    def _target(self, path: str, query: Mapping[str, Query]) -> str:
        said = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in query.items()
            if value is not None
        }
        encoded = urlencode(said, doseq=True)
        return self._prefix + path + (f"?{encoded}" if encoded else "")

    def _headers(self, accept: str) -> dict[str, str]:
        headers = {
            "Accept": accept,
            "X-Mllm-Namespace": self.namespace,
            "X-Request-Id": ulid(),
            "traceparent": self._traceparent,
        }
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers


def decoded(reply: Reply, into: type[T]) -> T:
    """What an answer says. Raises `OutOfReach` when it says something else."""
    try:
        return msgspec.json.decode(reply.body, type=into)
    except msgspec.DecodeError as error:
        raise OutOfReach(
            f"the answer is not what this mllm expects: {error}",
            "compare `mllm version` with the server's; check that the address is a gateway's",
        ) from error


def refusal(reply: Reply) -> Failure:
    """What a refused request amounts to."""
    from cli.evidence import lines_of  # here, because most requests are granted

    try:
        problem = msgspec.json.decode(reply.body, type=Problem)
    except msgspec.DecodeError:  # a proxy's page, say
        return Failure(
            f"what answers is not mllm (HTTP {reply.status})",
            "name a gateway with --server or `mllm login`",
            exit=Exit.OUT_OF_REACH,
            code="unavailable" if reply.status >= 500 else "",
        )
    cause, lines = problem.detail or problem.title, problem.errors
    if len(lines) == 1:
        cause, lines = f"{cause}; {lines[0]}", ()
    return Failure(
        cause,
        _remedy(problem),
        exit=of_problem(problem.code, reply.status),
        code=problem.code,
        request_id=problem.request_id or reply.headers.get("x-request-id", ""),
        lines=(*lines, *lines_of(problem.details)),
    )


def _granted(reply: Reply) -> Reply:
    if reply.status >= 400:
        raise refusal(reply)
    return reply


def _remedy(problem: Problem) -> str:
    if problem.code == "unauthenticated":
        return "log in with `mllm login`, or set MLLM_TOKEN"
    if problem.remedy:
        return problem.remedy
    otherwise = "see --help" if problem.status < 500 else "try again; see `mllm doctor`"
    return REMEDIES.get(problem.status, otherwise)


def _traceparent() -> str:
    """The trace this run belongs to: the caller's, or one of its own."""
    given = os.environ.get("TRACEPARENT", "")
    if re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", given):
        return given
    return f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"


def ulid() -> str:
    """A new ULID: milliseconds since 1970, then 80 random bits.

    Made by hand, because python-ulid takes as long to import as this module with all that it needs.
    """
    number = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10))
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")
