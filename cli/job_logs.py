"""What the workers wrote about a job, line by line."""

from collections.abc import Iterator

import msgspec

from cli.client import Gateway, segment
from cli.session import Session
from cli.tables import Column, View
from schemas.live import LogLine

LINES: View[LogLine] = View(
    "line",
    lambda line: str(line.cursor),
    (
        Column("TIME", lambda line: f"{line.at:%Y-%m-%d %H:%M:%S}"),
        Column("LEVEL", lambda line: line.level),
        Column("TEXT", lambda line: line.text),
    ),
)


def print_logs(session: Session, job: str, *, follow: bool) -> None:
    """Print the lines so far; with `follow`, those that come as well. Raises `Failure`."""
    path = f"/jobs/{segment(job)}/logs"
    if not follow:
        session.printer.rows(session.gateway.rows(path, LogLine).rows, LINES, "nothing written yet")
        return
    show = session.printer.changes(LINES)
    for line in _following(session.gateway, path):
        show([line])


def _following(gateway: Gateway, path: str) -> Iterator[LogLine]:
    stream = gateway.patient(45.0).stream(path, "application/x-ndjson", {}, follow=True)
    for text in stream:
        if text.strip():
            yield msgspec.json.decode(text, type=LogLine)
