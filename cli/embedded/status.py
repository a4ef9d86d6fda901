"""What a stack writes down about itself, for `status`, for `down`, and for the next start."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from signal import SIGINT

import msgspec

from cli.embedded.child import PartStatus
from cli.embedded.datadir import DataDir
from cli.embedded.process import ProcessRecord, end, is_alive

GRACE = 20.0


class StackStatus(msgspec.Struct, frozen=True, rename="camel"):
    """`process` is the stack itself. No address holds a secret."""

    process: ProcessRecord
    since: datetime
    nats: str
    database: str
    parts: Mapping[str, PartStatus]

    def is_up(self) -> bool:
        return is_alive(self.process)


def read_status(root: Path) -> StackStatus | None:
    """What the stack on that data directory last said, unless it was stopped in good order."""
    try:
        return msgspec.json.decode(DataDir(root).status.read_bytes(), type=StackStatus)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


async def stop_leftovers(data: DataDir) -> None:
    """Stop what outlived the last stack here; a stranger with a leftover's process id is let be."""
    last = read_status(data.root)
    known = [part.process for part in last.parts.values() if part.process] if last else []
    await asyncio.gather(*(end(process, SIGINT, GRACE) for process in known))
