"""What is written down about a process, so that a later start knows it from a stranger.

A process id alone says little: after a crash or a reboot it belongs to anyone.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from signal import SIGKILL, Signals

import msgspec
import psutil

POLL = 0.02


class ProcessRecord(msgspec.Struct, frozen=True):
    """`started` is in seconds: since boot on Linux, where a clock can step, else since 1970."""

    pid: int
    started: float
    argv: tuple[str, ...]


def record(pid: int, argv: tuple[str, ...]) -> ProcessRecord:
    """Describe a live process. Raises `psutil.NoSuchProcess` when it is gone already."""
    return ProcessRecord(pid, _started(pid), argv)


def myself() -> ProcessRecord:
    return record(os.getpid(), tuple(psutil.Process().cmdline()))


def is_alive(known: ProcessRecord) -> bool:
    """Whether that very process still runs: same id, same start, same program and arguments."""
    try:
        if _started(known.pid) != known.started:
            return False
        # A script's command line begins with its interpreter; a zombie's is empty.
        return tuple(psutil.Process(known.pid).cmdline())[-len(known.argv) :] == known.argv
    except psutil.Error:
        return False


async def end(known: ProcessRecord, signal: Signals, grace: float) -> None:
    """Ask a process that is not our child to stop; kill it after `grace` seconds."""
    for word, patience in ((signal, grace), (SIGKILL, 5.0)):
        if not is_alive(known):
            return
        os.kill(known.pid, word)
        deadline = time.monotonic() + patience
        # Nobody tells when a process dies that is not one's own child.
        while is_alive(known) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL)


def _started(pid: int) -> float:
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError as error:
            raise psutil.NoSuchProcess(pid) from error
        # The command's name, in parentheses, may hold anything; field 22 is counted from its end.
        return int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return psutil.Process(pid).create_time()
