"""Facts of a repository on the Hub: the headers of its files are fetched, and nothing else."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from processors.facts.reading import gguf_models, read_facts
from processors.facts.source import Unreadable
from processors.fetch.errors import FetchError, Halted, HubUnreachable, RangeIgnored, Setback
from processors.fetch.gate import Gate
from processors.fetch.http import Connections
from processors.fetch.limits import Limits
from processors.fetch.source import Body, Opener, Source
from processors.hub import HubAccess, Listing
from schemas.facts import Facts
from schemas.message import Rejected
from schemas.plan import PlannedFile
from schemas.remedies import refuse_unknown_file

SECONDS = 20.0
TRIES = 3
PAUSE = 0.2
LANES = 8
CHUNK = 256 << 10
MOST_SKIPPED = 16 << 20
"""How much of a file is fetched in vain when the server gives no parts of it."""

PATIENCE = Limits(streams=LANES, stall=8.0, connect=5.0)


class Described(NamedTuple):
    """A repository at one commit, and what its files say."""

    listing: Listing
    facts: Facts


class HubFiles:
    """A `Source` of files on the Hub. Every thread has connections of its own.

    Raises `FetchError` when a file can not be had, and `Halted` once it was stopped.
    """

    lanes = LANES

    def __init__(self, source: Source, files: Sequence[PlannedFile]) -> None:
        self.files: Mapping[str, int] = {file.path: file.size for file in files}
        self._planned = {file.path: file for file in files}
        self._opener = Opener(source)
        self._tls = source.context()
        self._gate = Gate(lambda: None)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._made: list[Connections] = []

    def read(self, path: str, start: int, length: int) -> bytes:
        end = min(start + length, self.files[path])
        if start >= end:
            return b""
        for turn in range(TRIES):
            try:
                return self._read(path, start, end)
            except Setback as setback:
                if turn == TRIES - 1:
                    raise HubUnreachable(str(setback)) from setback
                self._gate.pause(max(PAUSE * 2.0**turn, min(setback.wait or 0.0, SECONDS)))
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Have whoever reads end soon."""
        self._gate.close(HubUnreachable("stopped"))
        with self._lock:
            for connections in self._made:
                connections.abort()

    def close(self) -> None:
        """Let go of the connections, once nobody reads any more."""
        for connections in self._made:
            connections.close()

    def _read(self, path: str, start: int, end: int) -> bytes:
        connections, file = self._connections(), self._planned[path]
        try:
            return _taken(self._opener.open(connections, file, (start, end)), 0)
        except RangeIgnored:
            if start > MOST_SKIPPED:
                raise Unreadable(f"{path}: the server gives no parts of files") from None
        return _taken(self._opener.open(connections, file, None), start, end)

    def _connections(self) -> Connections:
        if not hasattr(self._own, "connections"):
            self._own.connections = Connections(PATIENCE, self._tls, self._gate)
            with self._lock:
                self._made.append(self._own.connections)
        made: Connections = self._own.connections
        return made


def _taken(body: Body, skip: int, end: int | None = None) -> bytes:
    """What a body holds from `skip` up to `end`, its own end unless said."""
    raw = bytearray()
    try:
        while (end is None or len(raw) < end) and (chunk := body.read(CHUNK)):
            raw += chunk
    finally:
        body.close()
    return bytes(raw[skip:end])


async def facts_of(
    hub: HubAccess, repo: str, revision: str, token: str = "", file: str = ""
) -> Described:
    """What the files of a repository say, at the commit that `revision` means; `file` picks one of
    several GGUF models.

    Raises `Rejected`: `not_found`, `gated`, `hub_unreachable`, `weights_file_missing`.
    """
    listing = await hub.list(repo, revision, token)
    try:
        files = HubFiles(
            Source(hub.endpoint, repo, listing.commit, token or hub.token), listing.files
        )
        try:
            async with asyncio.timeout(SECONDS):
                return Described(listing, await asyncio.to_thread(_read, files, file))
        finally:
            files.stop()
    except (TimeoutError, OSError, Halted) as error:
        raise Rejected("hub_unreachable", "the Hub took too long to answer") from error
    except FetchError as error:
        raise _refusal(repo, error) from error


def _read(files: HubFiles, file: str) -> Facts:
    try:
        refuse_unknown_file(file, gguf_models(files))
        return read_facts(files, file)
    finally:
        files.close()


def _refusal(repo: str, error: FetchError) -> Rejected:
    match error.code:
        case "gated" | "not_found" | "hub_unreachable":
            return Rejected(error.code, str(error), **error.details)
        case "not_allowed":
            return Rejected("not_found", f"the Hub refused access to {repo}")
        case _:
            return Rejected("hub_unreachable", str(error))
