"""Xet storage, as far as reading from it goes: files cut into chunks, chunks packed into xorbs.

A client asks how to rebuild a range of a file, and gets terms (chunks of a xorb, in order) and
the places where to fetch them. Here a xorb holds the chunks of one stretch of one file, and is
made from the file whenever a part of it is asked for. Nothing is compressed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePosixPath

from cli.loopback_hub.files import range_of, serve
from cli.loopback_hub.message import Handler, Request, Response
from cli.loopback_hub.replies import Refused, answer, page_not_found
from cli.loopback_hub.repository import Blob, Repo
from cli.loopback_hub.route import route_of

CHUNK = 1 << 17
CHUNKS_IN_XORB = 256
STRETCH = CHUNK * CHUNKS_IN_XORB  # bytes of a file in one xorb
HEADER = 8
UNCOMPRESSED = b"\0"


@dataclass(frozen=True)
class Term:
    """Consecutive chunks of one xorb, which are consecutive in the file too."""

    xorb: int  # which of its file's, from 0
    first: int  # chunks count from the start of the xorb
    stop: int
    unpacked: int  # bytes

    @property
    def packed(self) -> dict[str, int]:
        """Where the chunks are in the xorb: its first and its last byte."""
        start = self.first * (HEADER + CHUNK)
        length = self.unpacked + HEADER * (self.stop - self.first)
        return {"start": start, "end": start + length - 1}


def terms(size: int, wanted: range) -> Iterator[Term]:
    """What holds the wanted bytes: whole chunks, so it may begin earlier and end later."""
    for xorb in range(wanted.start // STRETCH, (wanted.stop - 1) // STRETCH + 1):
        base = xorb * STRETCH
        first = max(0, wanted.start - base) // CHUNK
        stop = (min(wanted.stop - base, STRETCH) - 1) // CHUNK + 1
        unpacked = min(size, base + stop * CHUNK) - base - first * CHUNK
        yield Term(xorb, first, stop, unpacked)


@lru_cache(maxsize=4)
def packed(file: Blob, xorb: int) -> Blob:
    """A xorb as it travels: each chunk after a header of its length, packed and unpacked."""
    data = read(file, xorb * STRETCH, STRETCH)
    pieces: list[bytes] = []
    for start in range(0, len(data), CHUNK):
        chunk = data[start : start + CHUNK]
        length = len(chunk).to_bytes(3, "little")
        pieces += [b"\0", length, UNCOMPRESSED, length, chunk]
    content = b"".join(pieces)
    return Blob(content, len(content), oid=f"{file.etag}-{xorb}")


def read(file: Blob, start: int, count: int) -> bytes:
    if isinstance(file.content, bytes):
        return file.content[start : start + count]
    with file.content.open("rb") as opened:
        opened.seek(start)
        return opened.read(count)


class XetStorage:
    """Answers for the storage on the second host, and leaves the rest to a handler."""

    def __init__(self, handler: Handler, repos: Mapping[str, Repo]) -> None:
        self._handler = handler
        self._repos = repos

    def __call__(self, request: Request) -> Response:
        route = route_of(request.path)
        if request.host != "cdn" or route.kind not in {"cas", "xorb"}:
            return self._handler(request)
        file = self._file(route.path)
        if file is None:
            return page_not_found().response()
        if route.kind == "cas":
            return self._terms(file, request)
        return serve(packed(file, int(PurePosixPath(request.path).name)), request, {})

    def _file(self, xet_hash: str) -> Blob | None:
        files = (file for repo in self._repos.values() for file in list(repo.lfs.values()))
        return next((file for file in files if file.xet_hash == xet_hash), None)

    def _terms(self, file: Blob, request: Request) -> Response:
        wanted = range_of(request, file.size, file.etag)
        if wanted is None:
            wanted = range(file.size)
        if not wanted:
            return Refused(416, "", "No such bytes").response()
        found = list(terms(file.size, wanted))
        names = [sha256(f"{file.etag} {term.xorb}".encode()).hexdigest() for term in found]
        return answer(
            {
                "offset_into_first_range": wanted.start % CHUNK,
                "terms": [_term(name, term) for name, term in zip(names, found, strict=True)],
                "fetch_info": {
                    name: [_place(request, file, term)]
                    for name, term in zip(names, found, strict=True)
                },
            }
        )


def _term(name: str, term: Term) -> dict[str, object]:
    chunks = {"start": term.first, "end": term.stop}
    return {"hash": name, "unpacked_length": term.unpacked, "range": chunks}


def _place(request: Request, file: Blob, term: Term) -> dict[str, object]:
    url = f"http://{request.headers['host']}/xorbs/{file.xet_hash}/{term.xorb}"
    chunks = {"start": term.first, "end": term.stop}
    return {"range": chunks, "url": url, "url_range": term.packed}
