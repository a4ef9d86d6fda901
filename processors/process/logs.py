"""What servers print: kept short enough, and read while it grows."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from processors.process.masking import Mask

LIMIT = 32 * 1024 * 1024
CHUNK = 64 * 1024
PAUSE = 0.2
LAST_LINES, LAST_LETTERS = 12, 1500
MOST_TAIL = 8 * 1024 * 1024
"""Bytes that lines may take when only the last ones are asked for: they may have no end."""


def rotate(log: Path, limit: int = LIMIT) -> None:
    """Move a long log aside, from under a server that keeps it open.

    The server appends, so it goes on at the start of the emptied file. A line written between the
    copy and the emptying is lost, which beats having every line pass through here.
    """
    try:
        if log.stat().st_size < limit:
            return
    except FileNotFoundError:
        return
    older = log.with_name(f"{log.name}.1")
    try:
        shutil.copyfile(log, older)
    except OSError:
        # On a full disk the room is worth more than the old lines.
        older.unlink(missing_ok=True)
    os.truncate(log, 0)


def last_words(log: Path, mask: Mask) -> str:
    """The last lines, fit to be shown."""
    data, _ = _tail(log, LAST_LINES)
    text = mask.hide(data).decode(errors="replace")
    shown = "".join(letter for letter in text if letter.isprintable() or letter == "\n")
    return shown.strip()[-LAST_LETTERS:]


async def read(
    log: Path, *, tail: int, follow: bool, over: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The last `tail` lines (all, below 0), then whatever comes until `over`."""
    data, place = await asyncio.to_thread(_tail, log, tail)
    if data:
        yield data
    while follow:
        ended = over()  # asked first, so that what was written before is still read
        data, place = await asyncio.to_thread(_read, log, place)
        if data:
            yield data
        elif ended:
            return
        else:
            await asyncio.sleep(PAUSE)


def _tail(log: Path, lines: int) -> tuple[bytes, int]:
    """The last lines and the place where they end."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start, found, step = end, b"", CHUNK
            while start and (lines < 0 or found.count(b"\n") <= lines):
                if lines >= 0 and end - start >= MOST_TAIL:
                    break
                start, step = max(0, start - step), step * 2
                file.seek(start)
                found = file.read(end - start)
    except FileNotFoundError:
        return b"", 0
    if lines < 0:
        return found, end
    kept = found.splitlines(keepends=True)[-lines:] if lines else []
    return b"".join(kept), end


def _read(log: Path, place: int) -> tuple[bytes, int]:
    """What follows `place`, or what there is from the start if the log was emptied since."""
    try:
        with log.open("rb") as file:
            if file.seek(0, os.SEEK_END) < place:
                place = 0
            file.seek(place)
            data = file.read(CHUNK)
    except FileNotFoundError:
        return b"", place
    return data, place + len(data)
