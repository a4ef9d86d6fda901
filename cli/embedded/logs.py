"""What the parts print: one file each, never too long, and what it says when one cannot start."""

import os
import re
import shutil
from pathlib import Path
from typing import IO

LIMIT = 8 * 1024 * 1024
KEPT = 2  # older files beside the current one: `.1` is the younger
TAIL = 16 * 1024

# All that stands before what matters in a line of Postgres, NATS, initdb or Python.
TELLING = re.compile(
    r"^.*?(?:(?:FATAL|PANIC|ERROR|error): +|\[(?:FTL|ERR)\] |(?=\w*Error\b|cannot ))"
)


def open_log(log: Path) -> IO[bytes]:
    """Open for appending, unbuffered. Raises `OSError` where there is no room to make it."""
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab", buffering=0)


def size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def rotate(log: Path) -> None:
    """Move a long log aside, from under a part that keeps it open.

    The part appends, so it goes on at the start of the emptied file. A line written between
    the copy and the emptying is lost, which beats having every line pass through here.
    """
    if size(log) < LIMIT:
        return
    for age in range(KEPT, 1, -1):
        older = _aged(log, age - 1)
        if older.exists():
            older.replace(_aged(log, age))
    try:
        shutil.copyfile(log, _aged(log, 1))
    except OSError:
        # On a full disk the room is worth more than the old lines.
        _aged(log, 1).unlink(missing_ok=True)
    os.truncate(log, 0)


def last_words(log: Path, since: int) -> str:
    """The line that best says why a part died, among those written after byte `since`."""
    if size(log) <= since:
        return ""
    with log.open("rb") as file:
        file.seek(max(since, size(log) - TAIL))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    telling = [TELLING.sub("", line, count=1) for line in lines if TELLING.match(line)]
    said = telling or [line for line in lines if line]
    return "".join(letter for letter in said[-1] if letter.isprintable())[:300] if said else ""


def _aged(log: Path, age: int) -> Path:
    return log.with_name(f"{log.name}.{age}")
