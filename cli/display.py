"""Showing progress on stderr: on a terminal in place, elsewhere a line now and then."""

import os
import sys
import time
from datetime import UTC, datetime
from typing import Protocol, TextIO

from cli.drawing import document, plain, screen
from cli.progress import Progress
from cli.session import Session

PLAIN_SECONDS = 10.0
FRAME_SECONDS = 0.1


class Display(Protocol):
    """`show` is called with every change, and now and then without one."""

    def show(self, progress: Progress) -> None: ...

    def close(self) -> None:
        """Leave what was shown standing."""
        ...


def display(session: Session) -> Display:
    """The display that the options, and what stderr is, ask for."""
    how = session.options.progress
    if how == "none" or (session.options.quiet and how == "auto"):
        return Silence()
    if how == "json":
        return Documents(sys.stderr)
    if how == "auto" and sys.stderr.isatty() and session.environ.get("TERM") != "dumb":
        return Screen(sys.stderr, colour=session.colour(sys.stderr))
    return Lines(sys.stderr)


class Silence:
    def show(self, progress: Progress) -> None:
        pass

    def close(self) -> None:
        pass


class Documents:
    """A JSON document a line, for every change."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: Progress | None = None

    def show(self, progress: Progress) -> None:
        if progress != self._last:
            self._last = progress
            print(document(progress), file=self._stream, flush=True)

    def close(self) -> None:
        pass


class Lines:
    """A line every 10 s, and whenever the status, the phase or the attempt changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said: tuple[object, ...] = ()
        self._due = 0.0

    def show(self, progress: Progress) -> None:
        now = time.monotonic()
        news = (progress.status, progress.phase, progress.attempt)
        if news == self._said and (now < self._due or progress.ended):
            return
        self._said, self._due = news, now + PLAIN_SECONDS
        print(plain(progress, datetime.now(UTC)), file=self._stream, flush=True)

    def close(self) -> None:
        pass


class Screen:
    """A few lines of a terminal, drawn over again in place."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream = stream
        self._colour = colour
        self._drawn = 0
        self._next = 0.0
        self._last: Progress | None = None

    def show(self, progress: Progress) -> None:
        self._last = progress
        now = time.monotonic()
        if now >= self._next or progress.ended:
            self._next = now + FRAME_SECONDS
            self._draw(progress)

    def close(self) -> None:
        if self._last is not None:
            self._draw(self._last)
        self._last = None

    def _draw(self, progress: Progress) -> None:
        columns, rows = self._size()
        now = datetime.now(UTC)
        lines = screen(progress, now, columns - 1, colour=self._colour)[: rows - 1]
        back = f"\x1b[{self._drawn}A" if self._drawn else ""
        body = "".join(f"\x1b[2K{line}\n" for line in lines)
        # lines of the frame before that this one no longer has are wiped with the rest of it
        self._stream.write(f"\r{back}{body}\x1b[J")
        self._stream.flush()
        self._drawn = len(lines)

    def _size(self) -> tuple[int, int]:
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return 80, 24
        return size.columns or 80, size.lines or 24
