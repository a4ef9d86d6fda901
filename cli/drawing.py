"""A job's progress as text: one line for a log, a few lines for a terminal, JSON for a program."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from cli.display import Look
from cli.progress import Progress
from cli.quantities import duration, size
from cli.tables import coloured, printable, width
from schemas.live import ActiveFile

BAR = 28
SHORTEST_BAR = 8
NUMBERS = 62
SHOWN_FILES = 5


def headline(progress: Progress) -> str:
    """What the job is about: `install org/name`."""
    about = progress.target
    if progress.model and progress.model != progress.target:
        about = f"{progress.model} as {progress.target}"
    return printable(f"{progress.type} {about}")


def state(progress: Progress) -> str:
    """The phase while it runs, else the status."""
    return (progress.phase or "started") if progress.status == "running" else progress.status


def hindrance(progress: Progress, now: datetime) -> str:
    """What is in the way of the job, if anything."""
    if progress.status == "retrying" and progress.next_attempt_at is not None:
        left = (progress.next_attempt_at - now).total_seconds()
        again = f"trying again in {duration(left)}" if left >= 1 else "trying again"
        return printable(f"attempt {progress.attempt} failed: {progress.reason}; {again}")
    return printable(progress.note)


def plain(progress: Progress, now: datetime) -> str:
    """One line for a log."""
    words = [f"{headline(progress)}: {state(progress)}"]
    if progress.bytes_total and not progress.ended:
        words.append(f"{progress.percent}%")
    words += [*_counts(progress), hindrance(progress, now)]
    return ", ".join(word for word in words if word)


def document(progress: Progress) -> str:
    """One line of JSON, with what the picture knows and what follows from it."""
    fields = msgspec.to_builtins(progress)
    fields |= {"percent": progress.percent, "secondsLeft": progress.seconds_left}
    return msgspec.json.encode(fields).decode()


def screen(progress: Progress, now: datetime, columns: int, *, colour: bool) -> Sequence[str]:
    """A few lines for a terminal `columns` wide: a total bar, the active files, what hinders."""
    word = state(progress)
    title = clipped(headline(progress), columns - width(word) - 2)
    lines = [f"{title}  {coloured(word) if colour else word}"]
    if progress.bytes_total:
        lines.append(_total(progress, columns))
    if progress.status == "running":
        lines += [_file(file, columns) for file in progress.active[:SHOWN_FILES]]
    if note := hindrance(progress, now):
        lines.append(clipped(f"  {note}", columns))
    return lines


def bar(fraction: float, length: int = BAR) -> str:
    """`━━━━━───`; full only when `fraction` is 1."""
    full = length if fraction >= 1 else min(int(fraction * length), length - 1)
    return "━" * full + "─" * (length - full)


def clipped(text: str, columns: int, *, front: bool = False) -> str:
    """`text` in at most `columns` columns, cut at its end, or at its front."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[1:] if front else text[:-1]
    return f"…{text}" if front else f"{text}…"


def _counts(progress: Progress) -> list[str]:
    counts: list[str] = []
    if progress.bytes_total:
        done, total = size(progress.bytes_done), size(progress.bytes_total)
        counts.append(total if progress.status == "completed" else f"{done} of {total}")
    if progress.status == "running" and progress.rate > 0:
        counts.append(f"{size(progress.rate)}/s")
    if progress.status == "running" and (left := progress.seconds_left or 0) >= 1:
        counts.append(f"{duration(left)} left")
    if progress.files_total:
        counts.append(f"{progress.files_done}/{progress.files_total} files")
    return counts


def _total(progress: Progress, columns: int) -> str:
    """The bar leaves room for the numbers, and keeps its length while they change theirs."""
    length = max(SHORTEST_BAR, min(BAR, columns - NUMBERS))
    numbers = "  ".join([f"{progress.percent:3d}%", *_counts(progress)])
    return clipped(f"{bar(progress.fraction, length)}  {numbers}", columns)


def _file(file: ActiveFile, columns: int) -> str:
    share = file.done / file.size if file.size else 0.0
    counts = f"{min(int(share * 100), 99):3d}%  {size(file.done)} of {size(file.size)}"
    room = max(8, min(56, columns - width(counts) - 5))
    name = clipped(printable(file.path), room, front=True)
    return f"  {name}{' ' * (room - width(name))}  {counts}"


JOB = Look[Progress](
    news=lambda progress: (progress.status, progress.phase, progress.attempt),
    plain=lambda progress, _: plain(progress, datetime.now(UTC)),
    document=document,
    screen=lambda progress, _, columns, colour: screen(
        progress, datetime.now(UTC), columns, colour=colour
    ),
)
