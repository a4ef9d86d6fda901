"""GET over HTTP/1.1: one stream's connections, kept alive, and the bytes of a response.

Blocking sockets, one thread a stream: receiving, TLS, hashing and writing all happen outside of
the interpreter's lock, so threads share the processors as they would in C. `http.client` reads
into memory with one system call a chunk and gives up nothing that matters here.
"""

import http.client
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from processors.fetch.errors import FetchFailed, HubUnreachable, Setback
from processors.fetch.gate import Gate
from processors.fetch.limits import Limits

PORTS = {"http": 80, "https": 443}
SMALL = 64 << 10  # bodies up to this size are read to keep their connection
TRICKLE = 1024  # fewer bytes than this in a stall's time are a stall


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class Url(NamedTuple):
    """An address, taken apart. Only its host may ever be shown: a query may be a signature."""

    origin: Origin
    target: str

    @property
    def whole(self) -> str:
        scheme, host, port = self.origin
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}{'' if port == PORTS[scheme] else f':{port}'}{self.target}"

    @classmethod
    def parse(cls, text: str) -> "Url":
        """Raises `FetchFailed` for anything but an http or https address."""
        try:
            parts = urlsplit(text)
            port = parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise FetchFailed("not an http or https address", retryable=False) from None
        if not parts.hostname:
            raise FetchFailed("an address without a host", retryable=False)
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        if parts.query:
            target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?")
        return cls(Origin(parts.scheme, parts.hostname, port), target)

    def follow(self, location: str) -> "Url":
        """Where a redirect from here leads. Raises `FetchFailed` if it would give up TLS."""
        url = Url.parse(urljoin(self.whole, location))
        if self.origin.scheme == "https" and url.origin.scheme != "https":
            raise FetchFailed(f"{self.origin.host} redirects from https to http", retryable=False)
        return url


class Proxy(NamedTuple):
    """Where to connect instead, and what to say there."""

    host: str
    port: int
    headers: dict[str, str]

    @classmethod
    def parse(cls, address: str) -> "Proxy":
        """Raises `HubUnreachable` for a kind of proxy that we do not know."""
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if parts.scheme != "http" or not parts.hostname:
            raise HubUnreachable("only http:// proxies are supported")
        headers: dict[str, str] = {}
        if parts.username is not None:
            account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Proxy-Authorization"] = f"Basic {b64encode(account.encode()).decode()}"
        return cls(parts.hostname, parts.port or PORTS["http"], headers)


class Response:
    """An answer whose body is still to be read. Whoever gets one closes it."""

    def __init__(
        self, url: Url, connection: http.client.HTTPConnection, connections: "Connections"
    ) -> None:
        self.url = url
        self._connection = connection
        self._connections = connections
        self._answer = connection.getresponse()
        self._begun = time.monotonic()
        self._trickled = 0
        self.status = self._answer.status
        self.headers = self._answer.headers

    def read(self, size: int) -> bytes:
        """What has come, at most `size` bytes of it; empty at the end. Raises `Setback`."""
        try:
            chunk = self._answer.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise setback(self.url, error) from error
        self._watch(len(chunk))
        return chunk

    def close(self) -> None:
        """Keep the connection if the body was read to its end, else let go of it."""
        whole = self._answer.isclosed() or self._answer.length == 0
        with suppress(OSError):
            self._answer.close()
        self._connections.give_back(self.url, self._connection, alive=whole)

    def discard(self) -> None:
        """Close, having read a small body so that the connection can serve again."""
        with suppress(Setback):
            if self._answer.length is not None and self._answer.length <= SMALL:
                while self.read(SMALL):
                    pass
        self.close()

    def _watch(self, size: int) -> None:
        """A peer that sends a byte now and then never times out; it is stalled all the same."""
        now = time.monotonic()
        self._trickled += size
        if now - self._begun > self._connections.limits.stall:
            if self._trickled < TRICKLE and size:
                raise Setback(f"{self.url.origin.host} sends next to nothing")
            self._begun, self._trickled = now, 0


class Connections:
    """The connections of one stream. Used by that stream's thread alone, but for `abort`."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext, gate: Gate) -> None:
        self.limits = limits
        self.connecting = False
        self._tls = tls
        self._gate = gate
        self._proxies = getproxies_environment()
        self._idle: dict[Origin, http.client.HTTPConnection] = {}
        self._busy: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def get(self, url: Url, headers: Mapping[str, str]) -> Response:
        """Ask, and return once the header is there. Raises `Setback`, `HubUnreachable`, `Halted`.

        An idle connection that the server has closed meanwhile is replaced without a word.
        """
        idle = self._idle.pop(url.origin, None)
        try:
            if idle is not None:
                with suppress(ConnectionError, ssl.SSLError):
                    return self._ask(idle, url, headers)
                self._drop()
            return self._ask(self._connect(url), url, headers)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            raise setback(url, error) from error

    def give_back(self, url: Url, connection: http.client.HTTPConnection, *, alive: bool) -> None:
        self._busy = self._socket = None
        if alive and connection.sock is not None:
            self._idle[url.origin] = connection
        else:
            _close(connection)

    def abort(self) -> None:
        """Make whatever the stream waits for fail at once. For other threads."""
        if (busy := self._socket) is not None:
            with suppress(OSError):
                busy.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._drop()
        for connection in self._idle.values():
            _close(connection)

    def _ask(
        self, connection: http.client.HTTPConnection, url: Url, headers: Mapping[str, str]
    ) -> Response:
        # A connection forgets its socket before the body of its last response is read.
        self._busy, self._socket = connection, connection.sock
        self._gate()  # only now, when `abort` can see the socket: one of the two ends this
        proxy = self._proxy(url) if url.origin.scheme == "http" else None
        if proxy is None:
            connection.request("GET", url.target, headers=dict(headers))
        else:
            connection.request("GET", url.whole, headers={**headers, **proxy.headers})
        return Response(url, connection, self)

    def _connect(self, url: Url) -> http.client.HTTPConnection:
        proxy = self._proxy(url)
        host, port = (proxy.host, proxy.port) if proxy else (url.origin.host, url.origin.port)
        timeout = self.limits.connect
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        if url.origin.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls)
            if proxy is not None:
                connection.set_tunnel(url.origin.host, url.origin.port, proxy.headers)
        self._open(connection, url)
        return connection

    def _open(self, connection: http.client.HTTPConnection, url: Url) -> None:
        self.connecting = True
        try:
            connection.connect()
            connection.sock.settimeout(self.limits.stall)
        except ssl.SSLCertVerificationError as error:
            raise HubUnreachable(
                f"the certificate of {url.origin.host} is not trusted: {error.verify_message}"
            ) from error
        except OSError as error:
            raise setback(url, error, reached=False) from error
        finally:
            self.connecting = False

    def _proxy(self, url: Url) -> Proxy | None:
        """The proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY ask for."""
        address = self._proxies.get(url.origin.scheme) or self._proxies.get("all")
        host = f"{url.origin.host}:{url.origin.port}"
        if not address or proxy_bypass(host, self._proxies):
            return None
        return Proxy.parse(address)

    def _drop(self) -> None:
        if self._busy is not None:
            _close(self._busy)
            self._busy = self._socket = None


def setback(url: Url, error: Exception, *, reached: bool = True) -> Setback:
    """What `error` means to whoever waits for `url`: its kind and the host, nothing more."""
    match error:
        case TimeoutError():
            why = "does not answer" if not reached else "has stalled"
        case OSError(strerror=str(text)):
            why = f"failed: {text}"
        case _:
            why = f"failed: {type(error).__name__}"
    return Setback(f"{url.origin.host} {why}", reached=reached)


def _close(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError):  # it was closed for us
        connection.close()
