"""Showing an activation on stderr: on a terminal in place, elsewhere a line for every phase."""

import os
import sys
import time
from typing import Protocol, TextIO

import msgspec

from cli.drawing import clipped
from cli.evidence import headed
from cli.quantities import duration
from cli.runtime_progress import Rollout
from cli.session import Session
from cli.tables import coloured, printable, width

PLAIN_SECONDS = 10.0
FRAME_SECONDS = 0.1


class Display(Protocol):
    """`show` is called with every change, and now and then without one."""

    def show(self, rollout: Rollout, note: str = "") -> None:
        """`note` says what is in the way of hearing more, if anything is."""
        ...

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
    def show(self, rollout: Rollout, note: str = "") -> None:
        pass

    def close(self) -> None:
        pass


class Documents:
    """A JSON document a line, for every change."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: Rollout | None = None

    def show(self, rollout: Rollout, note: str = "") -> None:
        if rollout != self._last:
            self._last = rollout
            print(msgspec.json.encode(rollout).decode(), file=self._stream, flush=True)

    def close(self) -> None:
        pass


class Lines:
    """A line for every phase and at the end, and every 10 s while nothing changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said: tuple[object, ...] = ()
        self._since = 0.0
        self._due = 0.0

    def show(self, rollout: Rollout, note: str = "") -> None:
        now, news = time.monotonic(), (rollout.outcome, rollout.phase, rollout.waiting, note)
        if news != self._said:
            self._said, self._since = news, now
            self._say(rollout, plain(rollout, note), now)
        elif now >= self._due and not rollout.settled:
            self._say(rollout, f"{state(rollout)}, for {duration(now - self._since)}", now)

    def _say(self, rollout: Rollout, text: str, now: float) -> None:
        self._due = now + PLAIN_SECONDS
        print(f"{headline(rollout)}: {text}", file=self._stream, flush=True)

    def close(self) -> None:
        pass


class Screen:
    """A few lines of a terminal, drawn over again in place."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream = stream
        self._colour = colour
        self._drawn = 0
        self._next = 0.0
        self._phase = ""
        self._since = time.monotonic()
        self._last: tuple[Rollout, str] | None = None

    def show(self, rollout: Rollout, note: str = "") -> None:
        now = time.monotonic()
        if rollout.phase != self._phase:
            self._phase, self._since = rollout.phase, now
        self._last = (rollout, note)
        if now >= self._next or rollout.settled:
            self._next = now + FRAME_SECONDS
            self._draw(rollout, note)

    def close(self) -> None:
        if self._last is not None:
            self._draw(*self._last)
        self._last = None

    def _draw(self, rollout: Rollout, note: str) -> None:
        columns, rows = _size(self._stream)
        seconds = time.monotonic() - self._since
        lines = screen(rollout, note, seconds, colour=self._colour)
        room = columns + (9 if self._colour else 0)
        shown = [clipped(line, room - 1) if width(line) >= room else line for line in lines]
        back = f"\x1b[{self._drawn}A" if self._drawn else ""
        body = "".join(f"\x1b[2K{line}\n" for line in shown[: rows - 1])
        self._stream.write(f"\r{back}{body}\x1b[J")
        self._stream.flush()
        self._drawn = len(shown[: rows - 1])


def headline(rollout: Rollout) -> str:
    """What it is about: `activate llama-3-8b in active-llm`."""
    verb = "activate" if rollout.kind == "activation" else "deactivate"
    return printable(f"{verb} {rollout.model} in {rollout.slot}")


def state(rollout: Rollout) -> str:
    """The phase while it runs, else the outcome."""
    if rollout.waiting:
        return "ready"
    if rollout.outcome == "running":
        return rollout.phase or "started"
    return {"rolledback": "rolled back"}.get(rollout.outcome, rollout.outcome)


def plain(rollout: Rollout, note: str) -> str:
    """What is new, for a log: `load, after start took 1.2s`."""
    words = [state(rollout)]
    if rollout.waiting:
        words.append("waits to be promoted")
    elif rollout.outcome == "running" and rollout.phases:
        last = rollout.phases[-1]
        words.append(f"after {last.phase} took {seconds_of(last.ms)}")
    if rollout.outcome == "completed" and rollout.ms:
        words.append(f"after {seconds_of(rollout.ms)}")
    if rollout.ended and rollout.message:
        words.append(headed(rollout.message)[0])
    return printable(", ".join([*words, *([note] if note else [])]))


def screen(rollout: Rollout, note: str, seconds: float, *, colour: bool) -> list[str]:
    """A line for each phase that is over, and one for the phase that began `seconds` ago."""
    word = state(rollout)
    lines = [f"{headline(rollout)}  {coloured(word) if colour else word}"]
    lines += [f"  {phase.phase:<9}{seconds_of(phase.ms):>8}" for phase in rollout.phases]
    if rollout.phase and not rollout.ended:
        waits = "  waits to be promoted" if rollout.waiting else ""
        lines.append(f"  {rollout.phase:<9}{duration(seconds):>8}{waits}")
    return [*lines, *([f"  {printable(note)}"] if note else [])]


def seconds_of(ms: int) -> str:
    """`120ms`, `1.2s`, `2m30s`."""
    if ms < 1000:
        return f"{ms}ms"
    return f"{ms / 1000:.1f}s" if ms < 60_000 else duration(ms / 1000)


def _size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24
