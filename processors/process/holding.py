"""Who runs an instance: told by its lock, its record, and what its processes carry.

A process id alone says little: after a crash or a reboot it belongs to anyone. Nothing here signals
a process that was not first known for one of the instance's own.
"""

import contextlib
import fcntl
import os
import signal
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple

import msgspec
import psutil

from processors.process.launch import FACTS, boot, started, write
from processors.process.places import Place

MARKER = "MLLM_INSTANCE"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the starter says of a server. `devices` are the cards it was given."""

    port: int
    health: str
    model: str = ""
    restarts: int = 0
    gpus: int = 0
    devices: tuple[str, ...] = ()


class Record(Facts, frozen=True, kw_only=True):
    """Who holds an instance's lock. `started` and `boot` tell it from others of the same id."""

    pid: int
    started: int
    boot: str
    digest: str


class Seen(NamedTuple):
    """An instance: whether anything of it holds the lock, and its server, when that lives."""

    held: bool
    server: Record | None


def look(place: Place) -> Seen:
    """Raises `OSError`."""
    if not is_held(place):
        return Seen(False, None)
    server = read(place)
    if server is None or not is_alive(server, place):
        server = _recovered(place)
    return Seen(True, server)


def is_held(place: Place) -> bool:
    try:
        lock = os.open(place.lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def read(place: Place) -> Record | None:
    """What is written there, if it can be read at all."""
    try:
        return msgspec.json.decode(place.record.read_bytes(), type=Record)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_alive(server: Record, place: Place) -> bool:
    """Whether that very process still runs."""
    try:
        process = psutil.Process(server.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return _is_same(server) and (server.started != 0 or _carries(process, place.marker))
    except (OSError, psutil.Error):
        return False


def members(place: Place, leader: int = 0) -> list[psutil.Process]:
    """Every process of the instance: those that carry its marker, have inherited its lock, or are
    in the session of `leader`, which has to be known for the instance's."""
    lock = str(place.lock.resolve())
    mine = os.getpid()
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == mine or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if (
                (leader and os.getsid(process.pid) == leader)
                or _carries(process, place.marker)
                or any(_holds(file, lock) for file in process.open_files())
            ):
                found.append(process)
    return found


def known_leader(place: Place, child: int = 0) -> int:
    """The process whose session is the instance's beyond doubt, or 0: its server, alive, or a
    child of ours that nobody has waited for yet."""
    if child:
        return child
    server = read(place)
    return server.pid if server is not None and is_alive(server, place) else 0


def send(word: signal.Signals, processes: Iterable[psutil.Process]) -> None:
    """Signal each of them; psutil looks first whether it still is the process it was."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(word)


@contextlib.contextmanager
def holding(place: Place) -> Generator[bool]:
    """Hold the lock oneself, if it is free: nobody can start then."""
    try:
        lock = os.open(place.lock, os.O_RDONLY)
    except FileNotFoundError:
        yield True
        return
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def values(server: Record, names: Iterable[str]) -> tuple[str, ...]:
    """What these variables are in a server's environment, of those that it has."""
    with contextlib.suppress(psutil.Error, OSError):
        found = psutil.Process(server.pid).environ()
        return tuple(found[name] for name in names if name in found)
    return ()


def listens(server: Record) -> bool:
    """Whether it is the server, or a child of it, that listens on its port."""
    return (psutil.CONN_LISTEN, server.port) in _connections(server)


def callers(server: Record) -> int:
    """How many connections to the server's port are open."""
    return sum(one == (psutil.CONN_ESTABLISHED, server.port) for one in _connections(server))


def _connections(server: Record) -> Iterator[tuple[str, int]]:
    """Status and local port of the connections that the server and its children have."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(server.pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                for connection in one.net_connections(kind="tcp"):
                    if connection.laddr:
                        yield connection.status, connection.laddr.port


def _is_same(server: Record) -> bool:
    return server.boot == boot() and server.started == started(server.pid)


def _holds(file: object, lock: str) -> bool:
    """Servers have it open for writing; supervisors, which only look, for reading."""
    return getattr(file, "path", "") == lock and "+" in getattr(file, "mode", "")


def _carries(process: psutil.Process, marker: str) -> bool:
    return process.environ().get(MARKER) == marker


def _recovered(place: Place) -> Record | None:
    """The server of an instance whose record is damaged, as it says itself; put on record."""
    for process in members(place):
        with contextlib.suppress(psutil.Error, msgspec.MsgspecError, OSError):
            server = msgspec.json.decode(process.environ().get(FACTS, ""), type=Record)
            # Its children have inherited what it says of itself.
            if server.pid == process.pid and is_alive(server, place):
                write(place.record, msgspec.json.encode(server).decode())
                return server
    return None
