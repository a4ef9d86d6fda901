"""Starting a server so that nothing is lost if whoever starts it dies at any moment of it."""

import errno
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from processors.process import launch, logs
from processors.process.holding import holding, members, send
from processors.process.places import Place

LAUNCH = Path(launch.__file__)
ROOM = 1 << 20  # bytes; a server that can not even write down who it is, is not started
HANDLED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def prepare(place: Place) -> bool:
    """Make the instance's directory and its lock; end what an earlier server left behind.

    False while some of that is still there. Raises `OSError`.
    """
    place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(place.folder).free < ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place.folder))
    os.close(os.open(place.lock, os.O_RDONLY | os.O_CREAT, 0o600))
    logs.rotate(place.log)
    with holding(place) as free:
        if not free:
            return False
        left = members(place)
        send(signal.SIGKILL, left)
        return not left


def spawn(place: Place, command: Sequence[str], env: Mapping[str, str]) -> int:
    """Let a process become the server; its id is the same before and after."""
    argv = [sys.executable, "-I", "-S", str(LAUNCH), str(place.folder), *command]
    # Not `subprocess`: the child is meant to outlive its parent, and nobody waits for it.
    return os.posix_spawn(sys.executable, argv, env, setsid=True, setsigmask=(), setsigdef=HANDLED)


def free_port(avoid: Sequence[int] = ()) -> int:
    """A port that is free now. Whoever takes it meanwhile makes the server die and be restarted
    on another."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in avoid:
            return port


def reap(children: set[int], place: Place) -> dict[int, int]:
    """How those of our children that have ended did: their exit codes, as a shell would say.

    What is left of a session goes with its leader, while its number is surely its own.
    """
    ended: dict[int, int] = {}
    for pid in sorted(children):
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                continue
            send(signal.SIGKILL, [p for p in members(place, pid) if _leads(pid, p.pid)])
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except (psutil.NoSuchProcess, ChildProcessError):
            code = 0  # somebody else has waited for it
        children.discard(pid)
        ended[pid] = code if code >= 0 else 128 - code
    return ended


def _leads(leader: int, pid: int) -> bool:
    try:
        return os.getsid(pid) == leader
    except ProcessLookupError:
        return False
