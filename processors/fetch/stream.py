"""One stream: a thread with connections of its own that serves claims until there are none."""

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from processors.fetch.errors import Halted, RangeIgnored, Setback
from processors.fetch.gate import Gate
from processors.fetch.http import Connections
from processors.fetch.incoming import Incoming
from processors.fetch.limits import MIB, Bandwidth, Limits, Patience
from processors.fetch.progress import Progress
from processors.fetch.schedule import Claim, Schedule, Work
from processors.fetch.source import Opener, Span

WRITE = MIB // 4  # bytes at once
JOURNAL = MIB  # bytes to a line
MOST_CHUNKS = 256  # the kernel takes 1,024 at once


@dataclass(frozen=True)
class Session:
    """What the streams of one fetch share. `settle` is called with each file that is all there."""

    gate: Gate
    limits: Limits
    opener: Opener
    bandwidth: Bandwidth
    schedule: Schedule
    progress: Progress
    say: Callable[[str], None]
    settle: Callable[[Work], None]


class Stream(threading.Thread):
    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__(name="fetch", daemon=True)
        self._session = session
        self._connections = connections

    def run(self) -> None:
        """Whatever ends one stream, ends the fetch."""
        session = self._session
        try:
            while (claim := session.schedule.next()) is not None:
                self._serve(claim)
        except Halted:
            pass
        except BaseException as error:  # the thread that waits for us raises it
            session.gate.close(error)
        finally:
            self._connections.close()

    def abort(self) -> None:
        """Have the stream notice at once that the gate is closed. For other threads."""
        self._connections.abort()

    def leave(self) -> None:
        """Wait until the stream, its gate closed, can touch nothing any more.

        One that looks up a name or opens a connection cannot be interrupted, and need not be
        waited for: the gate is the next thing it meets.
        """
        while self.is_alive() and not self._connections.connecting:
            self.abort()
            self.join(0.05)

    def _serve(self, claim: Claim) -> None:
        claim.work.incoming.open()
        try:
            self._fetch(claim)
        except RangeIgnored:
            self._session.schedule.fetch_whole(claim)
        claim.work.incoming.advance()
        if self._session.schedule.release(claim):
            self._session.settle(claim.work)

    def _fetch(self, claim: Claim) -> None:
        """Receive what is missing of the claim, however often the server lets us down."""
        incoming = claim.work.incoming
        patience = Patience(self._session.limits)
        while gaps := incoming.missing(claim.start, claim.end):
            everything = claim.work.whole or gaps == [(0, incoming.file.size)]
            try:
                self._pause(self._session.opener.hold)
                self._receive(incoming, None if everything else gaps[0], patience)
            except Setback as setback:
                self._wait(incoming.file.path, setback, patience)

    def _receive(self, incoming: Incoming, span: Span | None, patience: Patience) -> None:
        session, path = self._session, incoming.file.path
        most = session.limits.chunk
        with (
            closing(session.opener.open(self._connections, incoming.file, span)) as body,
            closing(Shelf(incoming)) as shelf,  # what has arrived is kept, come what may
        ):
            while chunk := body.read(most):
                session.progress.received(path, len(chunk))
                if shelf.put(body.position - len(chunk), chunk):
                    patience.refill()
                self._pause(session.bandwidth.spend(len(chunk)))

    def _wait(self, path: str, setback: Setback, patience: Patience) -> None:
        session = self._session
        session.gate()  # a connection that we have cut ourselves is no setback
        seconds = patience.after(setback)
        tries = f"{patience.failures}/{session.limits.retries}"
        session.progress.waiting(path, patience.failures, session.limits.retries, seconds)
        session.say(f"{path}: {setback}; retry {tries} in {seconds:.1f}s")
        session.gate.pause(seconds)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._session.gate.pause(seconds)


class Shelf:
    """Takes the chunks of one answer to the disk: written while the processor's cache still has
    them, journaled more rarely.
    """

    def __init__(self, incoming: Incoming) -> None:
        self._incoming = incoming
        self._journaled = self._written = self._end = 0
        self._chunks: list[bytes] = []

    def put(self, start: int, chunk: bytes) -> bool:
        """Take what is missing of `chunk`, which lies at `start`; False if it all was there."""
        gaps = self._incoming.missing(start, start + len(chunk))
        for begin, end in gaps:
            if begin != self._end:
                self.close()
                self._journaled = self._written = begin
            self._chunks.append(chunk[begin - start : end - start])
            self._end = end
            if end - self._written >= WRITE or len(self._chunks) >= MOST_CHUNKS:
                self._write()
            if end - self._journaled >= JOURNAL:
                self.close()
        return bool(gaps)

    def close(self) -> None:
        """Leave nothing unwritten, and nothing written unsaid: also after a stop."""
        try:
            self._write()
        finally:
            if self._journaled < self._written:
                self._incoming.vouch(self._journaled, self._written)
                self._journaled = self._written

    def _write(self) -> None:
        if chunks := self._chunks:
            self._chunks = []
            self._incoming.write(self._written, chunks)
            self._written = self._end  # only now: what could not be written is not vouched for
            self._incoming.advance()
