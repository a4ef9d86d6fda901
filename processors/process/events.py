"""What supervision saw happen in a slot: a small file, one event a line, the old ones dropped."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from processors.process.launch import write
from processors.process.places import Place
from schemas.workloads import WorldEvent

LONGEST = 64 * 1024
KEPT = 100

logger = logging.getLogger(__name__)


def note(place: Place, kind: Literal["normal", "warning"], reason: str, message: str) -> None:
    """Write down what happened to an instance. A disk that takes no more loses the note only."""
    event = WorldEvent(datetime.now(UTC), kind, reason, message, place.pod)
    try:
        place.slot_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with place.events.open("ab") as file:
            file.write(msgspec.json.encode(event) + b"\n")
        if place.events.stat().st_size > LONGEST:
            _shorten(place.events)
    except OSError as error:
        logger.warning("%s: %s, which could not be noted: %s", place.pod, reason, error)


def since(slot_folder: Path, moment: datetime) -> Sequence[WorldEvent]:
    """What happened after `moment`, oldest first."""
    return [event for event in _all(slot_folder / "events") if event.at >= moment]


def _all(path: Path) -> list[WorldEvent]:
    found: list[WorldEvent] = []
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=WorldEvent))
        except msgspec.MsgspecError:
            continue  # half a line, written when the disk was full
    return found


def _shorten(path: Path) -> None:
    kept = b"".join(msgspec.json.encode(event) + b"\n" for event in _all(path)[-KEPT:])
    write(path, kept.decode())
