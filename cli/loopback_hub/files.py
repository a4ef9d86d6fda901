"""A file's bytes as an HTTP response: whole, or the range that was asked for."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from cli.loopback_hub.message import Body, Request, Response, Span, whole
from cli.loopback_hub.repository import Blob

ONE_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def range_of(request: Request, size: int, etag: str) -> range | None:
    """The bytes asked for, None for all of them; an empty range if the file has no such bytes.

    Several ranges, or a range of another version of the file (`If-Range`), ask for all of it.
    """
    asked = ONE_RANGE.fullmatch(request.headers.get("range", ""))
    if not asked or asked.group(0) == "bytes=-" or request.headers.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    end = min(int(last) + 1, size) if last else size
    return range(int(first), max(int(first), end))


def serve(blob: Blob, request: Request, headers: Mapping[str, str]) -> Response:
    etag = f'"{blob.etag}"'
    all_headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    wanted = range_of(request, blob.size, etag)
    if wanted is None:
        return Response(200, all_headers, blob.size, _content(blob, range(blob.size)))
    if not wanted:
        return Response(416, {**headers, "Content-Range": f"bytes */{blob.size}"}, 0, whole(b""))
    all_headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{blob.size}"
    return Response(206, all_headers, len(wanted), _content(blob, wanted))


def _content(blob: Blob, wanted: range) -> Body:
    if isinstance(blob.content, Path):
        return _from_disk(blob.content, wanted)
    return whole(blob.content[wanted.start : wanted.stop])


def _from_disk(path: Path, wanted: range) -> Body:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Span(descriptor, wanted.start, len(wanted))
    finally:
        os.close(descriptor)
