"""Who writes into a staging directory, and whether that process can still be writing.

Being wrong about a death corrupts weights, so only this counts as proof: the process was on this
boot of this kernel and in this pid namespace (two containers on one host see the same boot id but
not each other's processes), and its pid is free or belongs to a process started at another time.
Or: the machine itself was rebooted, told by machine id and host name, which containers share too
easily to be believed and which are therefore trusted in the host's own pid namespace alone.
"""

import os
import socket
from functools import cache
from pathlib import Path

import msgspec

HOST_PID_SPACE = "pid:[4026531836]"  # fixed in the kernel: PROC_PID_INIT_INO


class Owner(msgspec.Struct, frozen=True, array_like=True, tag="owner"):
    """One process, told apart from every other that ever was. `started` is in clock ticks."""

    boot: str
    machine: str
    pid_space: str
    pid: int
    started: int


@cache
def _here() -> tuple[str, str, str]:
    boot = _read("/proc/sys/kernel/random/boot_id")
    machine = f"{_read('/etc/machine-id')}@{socket.gethostname()}"
    try:
        return boot, machine, os.readlink("/proc/self/ns/pid")
    except OSError:
        return boot, machine, ""


def current() -> Owner:
    """This very process."""
    return Owner(*_here(), os.getpid(), started(os.getpid()) or 0)


def started(pid: int) -> int | None:
    """When process `pid` was started; None if there is no such process, or only its remains."""
    # The command name may hold spaces and parentheses: fields are counted from the last one.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(fields) < 20 or (fields[0] in "ZX" and _threads(pid) <= 1):
        return None
    return int(fields[19])


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def proven_dead(owner: Owner) -> bool:
    """Whether `owner` can never write again. False when there is any doubt."""
    here = current()
    if not owner.boot or not here.pid_space:
        return False
    if owner.boot == here.boot:
        return owner.pid_space == here.pid_space and started(owner.pid) != owner.started
    same_machine = owner.machine == here.machine and not here.machine.startswith("@")
    return same_machine and owner.pid_space == here.pid_space == HOST_PID_SPACE


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
