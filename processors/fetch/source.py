"""Where the files are: what to ask a Hub-compatible server for, and what its answers mean."""

import re
import ssl
import time
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import TypeAlias
from urllib.parse import quote

from processors.fetch.errors import (
    FetchError,
    FetchFailed,
    NotAllowed,
    NotFound,
    RangeIgnored,
    Setback,
)
from processors.fetch.http import Connections, Response, Url
from schemas.plan import PlannedFile

Span: TypeAlias = tuple[int, int]

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 5
LATER = (408, 425, 429)
LINK_LIFE = 600.0  # seconds; the Hub signs links for an hour
UNKNOWN = ("RepoNotFound", "RevisionNotFound", "EntryNotFound")


@dataclass(frozen=True)
class Source:
    """One repository at one commit. The token is sent to the endpoint's own origin, nowhere else.

    `tls` replaces the system's certificates, for mirrors with their own.
    """

    endpoint: str
    repo: str
    commit: str
    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not (self.token.isascii() and self.token.isprintable()):  # it would show in an error
            raise NotAllowed("the token holds characters that no token has")

    def url(self, path: str) -> Url:
        """The address of a file. Raises `FetchFailed` when the endpoint is no address."""
        resolve = f"{quote(self.repo)}/resolve/{quote(self.commit, safe='')}/{quote(path)}"
        return Url.parse(f"{self.endpoint.rstrip('/')}/{resolve}")

    def context(self) -> ssl.SSLContext:
        context = self.tls or ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context


class Body:
    """The bytes [start, end) of a file, as they come. Whoever gets one closes it."""

    def __init__(self, response: Response, start: int, end: int) -> None:
        self._response = response
        self.position = start
        self.end = end

    def read(self, size: int) -> bytes:
        """The next bytes, empty after the last. Raises `Setback` when they end too soon."""
        if self.position == self.end:
            return b""
        chunk = self._response.read(min(size, self.end - self.position))
        if not chunk:
            host = self._response.url.origin.host
            raise Setback(f"{host} ended the answer {self.end - self.position:,} bytes too soon")
        self.position += len(chunk)
        return chunk

    def close(self) -> None:
        self._response.close()


class Opener:
    """Opens files at a source. Thread-safe; remembers for a while where a big file really is."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._home = source.url("").origin
        self._links: dict[str, tuple[Url, float]] = {}
        self._quiet_until = 0.0

    @property
    def hold(self) -> float:
        """Seconds during which the server wants to hear from none of our streams."""
        return max(0.0, self._quiet_until - time.monotonic())

    def open(self, connections: Connections, file: PlannedFile, span: Span | None) -> Body:
        """The bytes `span` of `file`, or all of them.

        Raises `Setback` (try again), `RangeIgnored` (ask for all of it) or the `FetchError` that
        this file ends with.
        """
        response = self._follow(connections, file.path, span)
        try:
            self._check(response, file)
            if response.status == 206 and span is not None:
                return self._partial(response, file, span)
            if response.status == 200:
                return self._whole(response, file, span)
            raise self._refusal(response, file.path)
        except BaseException:
            response.close()
            raise

    def _follow(self, connections: Connections, path: str, span: Span | None) -> Response:
        """Follow redirects by hand: every hop decides anew whether it is told the token."""
        url = self._link(path)
        for _ in range(MOST_REDIRECTS + 1):
            response = connections.get(url, self._headers(url, span))
            location = response.headers.get("Location", "")
            if response.status not in REDIRECTS or not location:
                return response
            self._check_commit(response)
            response.discard()
            url = url.follow(location)
            if span is not None:  # more parts are to come
                self._links[path] = url, time.monotonic() + LINK_LIFE
        raise FetchFailed(f"{path}: more than {MOST_REDIRECTS} redirects", retryable=False)

    def _link(self, path: str) -> Url:
        url, expires = self._links.get(path, (None, 0.0))
        return url if url is not None and time.monotonic() < expires else self.source.url(path)

    def _headers(self, url: Url, span: Span | None) -> dict[str, str]:
        headers = {"User-Agent": "mllm", "Accept": "*/*", "Accept-Encoding": "identity"}
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        if self.source.token and url.origin == self._home:
            headers["Authorization"] = f"Bearer {self.source.token}"
        return headers

    def _check(self, response: Response, file: PlannedFile) -> None:
        self._check_commit(response)
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if response.status in (200, 206) and encoding != "identity":
            raise FetchFailed(f"{file.path} was sent encoded as {encoding!r}", retryable=False)

    def _check_commit(self, response: Response) -> None:
        wanted = self.source.commit
        commit = response.headers.get("X-Repo-Commit", wanted)
        if commit != wanted and response.url.origin == self._home:
            raise FetchFailed(f"asked for commit {wanted}, got {commit}", retryable=False)

    def _partial(self, response: Response, file: PlannedFile, span: Span) -> Body:
        text = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text.strip())
        if match is None:
            raise Setback(f"{file.path}: a part without its place")
        if match[3] not in ("*", str(file.size)):
            raise self._resized(file, match[3])
        if (int(match[1]), int(match[2]) + 1) != span:
            raise Setback(f"{file.path}: asked for bytes {span}, got {text}")
        return Body(response, *span)

    def _whole(self, response: Response, file: PlannedFile, span: Span | None) -> Body:
        length = response.headers.get("Content-Length", str(file.size))
        if length != str(file.size):
            raise self._resized(file, length)
        if span is not None:
            raise RangeIgnored
        return Body(response, 0, file.size)

    def _resized(self, file: PlannedFile, size: str) -> FetchFailed:
        return FetchFailed(
            f"{file.path} has {size} bytes where {file.size} were listed", retryable=False
        )

    def _refusal(self, response: Response, path: str) -> FetchError | Setback:
        status, host = response.status, response.url.origin.host
        wait = retry_after(status, response.headers)
        if status in LATER or status >= 500:
            self._quiet_until = max(self._quiet_until, time.monotonic() + (wait or 0.0))
            return Setback(f"{host} answered {status}", wait=wait)
        if status == 416:
            return FetchFailed(f"{path} is shorter than listed", retryable=False)
        if response.url.origin != self._home:
            self._links.pop(path, None)
            return Setback(f"{host} no longer takes its own link: it answered {status}")
        return denial(status, response.headers, f"{self.source.repo}/{path}")


def denial(status: int, headers: Message, what: str) -> FetchError:
    """What the Hub means by a 4xx that no other try will mend."""
    code = headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        return NotAllowed(f"{what} is gated: its licence must be accepted first", gated=True)
    if code in UNKNOWN or status in (404, 410):
        return NotFound(f"{what} is not there, or is private")
    if status in (401, 403):
        return NotAllowed(f"{what} may not be fetched with this token ({status})")
    return FetchFailed(f"{what} was answered with {status}", retryable=False)


def retry_after(status: int, headers: Message) -> float | None:
    """For how many seconds to stay away, if the answer says so in a way that makes sense.

    `Retry-After` in seconds or as a date; else, with a 429, the Hub's time to the next quota.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    quota = re.search(r";\s*t=(\d+)", headers.get("RateLimit", ""))
    if status == 429 and not text and quota is not None:
        return float(quota[1])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
