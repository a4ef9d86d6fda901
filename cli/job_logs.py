"""What the workers wrote about a job, line by line."""

import http.client
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from cli.client import Gateway, segment
from cli.session import Session
from cli.tables import Column, View
from cli.tailing import SILENCE_SECONDS
from schemas.api.jobs import JobRow
from schemas.live import LogLine

AGAIN_SECONDS = 1.0

LINES: View[LogLine] = View(
    "line",
    lambda line: line.text,
    (
        Column("TIME", lambda line: f"{line.at:%Y-%m-%d %H:%M:%S}"),
        Column("LEVEL", lambda line: line.level),
        Column("TEXT", lambda line: line.text),
    ),
)


def print_logs(session: Session, job: str, *, follow: bool) -> None:
    """Print the lines so far; with `follow`, those that come until the job ends, too.

    Raises `Failure`.
    """
    gateway, path = session.gateway, f"/jobs/{segment(job)}"
    if not follow:
        found = gateway.rows(f"{path}/logs", LogLine)
        session.printer.rows(found.rows, LINES, "nothing was written yet")
        return
    show = session.printer.changes(LINES)
    cursor = 0
    while True:
        for line in _coming(gateway, f"{path}/logs", cursor):
            show([line])
            cursor = line.cursor
        if gateway.get(path, JobRow).finished_at is not None:
            return
        time.sleep(AGAIN_SECONDS)


def _coming(gateway: Gateway, path: str, after: int) -> Iterator[LogLine]:
    """Lines past the cursor `after`, until the job ends or the connection breaks off."""
    lines = gateway.patient(SILENCE_SECONDS).stream
    with suppress(OSError, http.client.HTTPException):
        for text in lines(path, "application/x-ndjson", {}, follow=True, cursor=after):
            if text.strip():
                yield msgspec.json.decode(text, type=LogLine)
