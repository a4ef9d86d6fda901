"""One connection to a gateway: plain, or TLS and then perhaps through a proxy."""

import base64
import http.client
import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from cli.failures import OutOfReach

CONNECT_SECONDS = 10.0

DROPPED = (
    http.client.RemoteDisconnected,
    http.client.BadStatusLine,
    http.client.IncompleteRead,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
)
"""The connection ended before the answer did: whether the request was carried out is not known."""


class Request(NamedTuple):
    """`target` is the path with its query."""

    method: str
    target: str
    headers: Mapping[str, str]
    content: bytes | None = None


class Reply(NamedTuple):
    """An answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Connects when it has to. `timeout` (seconds) bounds each silence once connected.

    Every method raises `OutOfReach`.
    """

    def __init__(self, server: str, timeout: float) -> None:
        self.server = server
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None
        self._streaming: http.client.HTTPConnection | None = None

    def ask(self, request: Request) -> Reply:
        """One request and its whole answer. One that is dropped is made once more."""
        try:
            try:
                return self._once(request)
            except DROPPED:
                self.close()
                return self._once(request)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unanswered(error) from error

    def stream(self, request: Request) -> "Reply | Iterator[bytes]":
        """The lines of an answer that does not end, on a connection of its own; a refusal whole.

        The lines raise the connection's own errors.
        """
        try:
            connection = self._streaming = dial(self.server, self._timeout)
            answer = _send(connection, request)
            if answer.status >= 400:
                with closing(connection):
                    return _whole(answer)
        except (OSError, http.client.HTTPException) as error:
            raise self._unanswered(error) from error
        return _lines(connection, answer)

    def hang_up(self) -> None:
        """End a stream that another thread is reading: to it, the server has said its last."""
        if self._streaming is not None and self._streaming.sock is not None:
            with suppress(OSError):
                self._streaming.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection. The next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _once(self, request: Request) -> Reply:
        if self._connection is None:
            self._connection = dial(self.server, self._timeout)
        return _whole(_send(self._connection, request))

    def _unanswered(self, error: Exception) -> OutOfReach:
        return OutOfReach(
            f"{self.server} does not answer: {_reason(error)}",
            "start it with `mllm up`, or name another with --server or `mllm login`",
        )


def _send(connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
    connection.request(
        request.method, request.target, body=request.content, headers=request.headers
    )
    return connection.getresponse()


def _whole(answer: http.client.HTTPResponse) -> Reply:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(answer.status, headers, answer.read())


def _lines(
    connection: http.client.HTTPConnection, answer: http.client.HTTPResponse
) -> Iterator[bytes]:
    with closing(connection), answer:
        while line := answer.readline():
            yield line


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, socket.gaierror):
        return "nobody knows that name"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "the connection broke off" if isinstance(error, DROPPED) else "it does not speak HTTP"


def dial(server: str, timeout: float) -> http.client.HTTPConnection:
    """A new connection. Raises `OSError` and `http.client.HTTPException`."""
    target = urlsplit(server)
    proxy = proxy_of(target)
    via = proxy or target
    secure = target.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    port = via.port or (443 if via.scheme == "https" else 80)
    connection = kind(via.hostname or "", port, timeout=CONNECT_SECONDS)
    if proxy is not None:
        connection.set_tunnel(target.hostname or "", target.port or 443, _credentials(proxy))
    connection.connect()
    connection.timeout = timeout  # for when it has to connect again
    connection.sock.settimeout(timeout)
    return connection


def proxy_of(target: SplitResult) -> SplitResult | None:
    """The proxy for `target`, from HTTPS_PROXY and NO_PROXY; never for plain HTTP or loopback."""
    address = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if not address or target.scheme != "https" or is_loopback(target.hostname or ""):
        return None
    from urllib.request import proxy_bypass  # here, because it is slow to import

    if proxy_bypass(target.netloc):
        return None
    return urlsplit(address if "//" in address else f"//{address}")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
