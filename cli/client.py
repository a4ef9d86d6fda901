"""The gateway, as the command line sees it. Standard library only: it starts fast."""

import http.client
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from cli.dialling import dial
from cli.exits import of_problem
from cli.failures import Failure, OutOfReach
from schemas.api.problem import Page, Problem

T = TypeVar("T")
Query: TypeAlias = str | int | bool | None

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PAGE = 200
"""Rows to ask for at once."""

DROPPED = (
    http.client.RemoteDisconnected,
    http.client.BadStatusLine,
    http.client.IncompleteRead,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
)
"""The connection ended before the answer did: whether the request was carried out is not known."""


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def into(self, kind: type[T]) -> T:
        """The body as `kind`. Raises `Failure` when it is something else."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.DecodeError as error:
            raise OutOfReach(
                f"the answer is not what this mllm expects: {error}",
                "compare `mllm version` with the server's; check that the address is a gateway's",
            ) from error


class Rows(NamedTuple, Generic[T]):
    """Rows of a list; `more` says that there are others."""

    rows: Sequence[T]
    more: bool


class Gateway:
    """One connection, one namespace, one token. `timeout` (seconds) bounds each silence.

    Every method raises `Failure`: `OutOfReach`, or what the server refused with its exit code.
    """

    def __init__(self, server: str, token: str, namespace: str, timeout: float = 30.0) -> None:
        self.server = server
        self.namespace = namespace
        self._token = token
        self._timeout = timeout
        self._prefix = urlsplit(server).path.rstrip("/")
        self._connection: http.client.HTTPConnection | None = None
        self._traceparent = os.environ.get("TRACEPARENT") or (
            f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"
        )

    def patient(self, seconds: float) -> "Gateway":
        """The same gateway on another connection, whose silences may last `seconds`."""
        return Gateway(self.server, self._token, self.namespace, seconds)

    def within(self, namespace: str) -> "Gateway":
        """The same gateway about another namespace; `*` for a list of what is in all of them."""
        return Gateway(self.server, self._token, namespace, self._timeout)

    def get(self, path: str, into: type[T], **query: Query) -> T:
        return self.exchange("GET", path, query=query).into(into)

    def send(self, method: str, path: str, into: type[T], body: object = None, **query: Query) -> T:
        """A write, and its answer. A lost answer is asked for again under the same key: the write
        happens once."""
        return self._write(method, path, body, query).into(into)

    def tell(self, method: str, path: str, body: object = None, **query: Query) -> None:
        """A write whose answer says nothing of use."""
        self._write(method, path, body, query)

    def _write(self, method: str, path: str, body: object, query: Mapping[str, Query]) -> Reply:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Idempotency-Key": ulid()}
        return self.exchange(method, path, content, query=query, headers=headers)

    def rows(self, path: str, row: type[T], limit: int = 0, **query: Query) -> "Rows[T]":
        """A list, page after page: at most `limit` rows of it; 0 means all."""
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

    def exchange(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        query: Mapping[str, Query] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request and its whole answer, whatever it is if below 400."""
        reply = self.ask(method, path, content, query=query, headers=headers)
        if reply.status >= 400:
            raise refusal(reply)
        return reply

    def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        query: Mapping[str, Query] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The same, and a refusal is an answer like any other."""
        target = self._target(path, query or {})
        sent = self._headers("application/json", headers)
        if content is not None:
            sent["Content-Type"] = "application/json"
        for attempt in (1, 2):
            try:
                return self._once(method, target, content, sent)
            except DROPPED as error:
                self.close()
                if attempt == 2:
                    raise self._silent(error) from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise self._silent(error) from error
        raise AssertionError("unreachable")

    def stream(
        self, path: str, accept: str, headers: Mapping[str, str], **query: Query
    ) -> Iterator[bytes]:
        """The lines of an answer that does not end, on a connection of its own.

        Raises `Failure` before the first line, and the connection's own errors after it.
        """
        connection = dial(self.server, self._timeout)
        try:
            try:
                target = self._target(path, query)
                connection.request("GET", target, headers=self._headers(accept, headers))
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._silent(error) from error
            if answer.status >= 400:
                raise refusal(_whole(answer))
            while line := answer.readline():
                yield line
        finally:
            connection.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _once(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        if self._connection is None:
            self._connection = dial(self.server, self._timeout)
        self._connection.request(method, target, body=content, headers=headers)
        return _whole(self._connection.getresponse())

    def _target(self, path: str, query: Mapping[str, Query]) -> str:
        said = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in query.items()
            if value is not None
        }
        return self._prefix + path + (f"?{urlencode(said)}" if said else "")

    def _headers(self, accept: str, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = {
            "Accept": accept,
            "X-Mllm-Namespace": self.namespace,
            "X-Request-Id": ulid(),
            "traceparent": self._traceparent,
        }
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers | dict(more or {})

    def _silent(self, error: Exception) -> OutOfReach:
        return OutOfReach(
            f"{self.server} does not answer: {_reason(error)}",
            "start it with `mllm up`, or name another with --server or `mllm login`",
        )


def _whole(answer: http.client.HTTPResponse) -> Reply:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(answer.status, headers, answer.read())


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, socket.gaierror):
        return "nobody knows that name"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the connection broke off" if isinstance(error, DROPPED) else "it does not speak HTTP"


def refusal(reply: Reply) -> Failure:
    """What a refused request amounts to."""
    try:
        problem = msgspec.json.decode(reply.body, type=Problem)
    except msgspec.DecodeError:  # a proxy's page, say
        problem = Problem(type="", title=f"HTTP {reply.status}", status=reply.status, code="")
    return Failure(
        "; ".join((problem.detail or problem.title, *problem.errors)),
        _remedy(problem),
        exit=of_problem(problem.code, reply.status),
        code=problem.code,
        request_id=problem.request_id or reply.headers.get("x-request-id", ""),
    )


def _remedy(problem: Problem) -> str:
    if problem.remedy:
        return problem.remedy
    if problem.status == 401:
        return "log in with `mllm login`, or set MLLM_TOKEN"
    return "use a token with the scope this needs" if problem.status == 403 else ""


def ulid() -> str:
    """A new ULID: milliseconds since 1970, then 80 random bits."""
    number = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10))
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")
