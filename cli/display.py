"""Showing progress on stderr: on a terminal in place, elsewhere a line now and then."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TextIO, TypeVar

from cli.session import Session

PLAIN_SECONDS = 10.0
FRAME_SECONDS = 0.1


class Picture(Protocol):
    """How far something is, as of `position` of the log."""

    @property
    def position(self) -> int: ...

    @property
    def phase(self) -> str: ...

    @property
    def settled(self) -> bool:
        """Whether nothing more happens by itself."""
        ...

    def hindered(self, note: str) -> Self:
        """The picture while nothing more can be heard, and why."""
        ...


P = TypeVar("P", bound=Picture)
Shown = TypeVar("Shown", bound=Picture, contravariant=True)


@dataclass(frozen=True)
class Look(Generic[P]):
    """How pictures of one kind are drawn.

    `news` is what makes a line of its own when it changes; `plain` is that line, of a picture whose
    news are so many seconds old, and 0 when they are new; `document` is a line of JSON. `screen` is
    a few lines for a terminal, of a picture whose phase began so many seconds ago, in so many
    columns, with colours or without.
    """

    news: Callable[[P], object]
    plain: Callable[[P, float], str]
    document: Callable[[P], str]
    screen: Callable[[P, float, int, bool], Sequence[str]]


class Display(Protocol[Shown]):
    """`show` is called with every change, and now and then without one."""

    def show(self, picture: Shown) -> None: ...

    def close(self) -> None:
        """Leave what was shown standing."""
        ...


def display(session: Session, look: Look[P], *, shown: bool) -> Display[P]:
    """The display that the options, and what stderr is, ask for. `shown`: unless they say so,
    whether there is one."""
    how = session.options.progress
    if how == "none" or (how == "auto" and (session.options.quiet or not shown)):
        return Silence()
    if how == "json":
        return Documents(sys.stderr, look)
    if how == "auto" and sys.stderr.isatty() and session.environ.get("TERM") != "dumb":
        return Screen(sys.stderr, look, colour=session.colour(sys.stderr))
    return Lines(sys.stderr, look)


class Silence:
    def show(self, picture: Picture) -> None:
        pass

    def close(self) -> None:
        pass


class Documents(Generic[P]):
    """A JSON document a line, for every change."""

    def __init__(self, stream: TextIO, look: Look[P]) -> None:
        self._stream = stream
        self._look = look
        self._last: P | None = None

    def show(self, picture: P) -> None:
        if picture != self._last:
            self._last = picture
            print(self._look.document(picture), file=self._stream, flush=True)

    def close(self) -> None:
        pass


class Lines(Generic[P]):
    """A line for all news, and every 10 s while there are none."""

    def __init__(self, stream: TextIO, look: Look[P]) -> None:
        self._stream = stream
        self._look = look
        self._said: object = None
        self._since = 0.0
        self._due = 0.0

    def show(self, picture: P) -> None:
        now, news = time.monotonic(), self._look.news(picture)
        if news != self._said:
            self._said, self._since = news, now
        elif now < self._due or picture.settled:
            return
        self._due = now + PLAIN_SECONDS
        print(self._look.plain(picture, now - self._since), file=self._stream, flush=True)

    def close(self) -> None:
        pass


class Screen(Generic[P]):
    """A few lines of a terminal, drawn over again in place."""

    def __init__(self, stream: TextIO, look: Look[P], *, colour: bool) -> None:
        self._stream = stream
        self._look = look
        self._colour = colour
        self._drawn = 0
        self._next = 0.0
        self._phase = ""
        self._since = time.monotonic()
        self._last: P | None = None

    def show(self, picture: P) -> None:
        now = time.monotonic()
        if picture.phase != self._phase:
            self._phase, self._since = picture.phase, now
        self._last = picture
        if now >= self._next or picture.settled:
            self._next = now + FRAME_SECONDS
            self._draw(picture)

    def close(self) -> None:
        if self._last is not None:
            self._draw(self._last)
        self._last = None

    def _draw(self, picture: P) -> None:
        columns, rows = self._size()
        seconds = time.monotonic() - self._since
        lines = self._look.screen(picture, seconds, columns - 1, self._colour)[: rows - 1]
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
