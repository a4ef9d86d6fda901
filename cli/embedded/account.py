"""Whom a program runs as that refuses to be root.

Postgres will not run as root, so under root it gets a user id of its own that no account has, in
the manner of systemd's dynamic users: nobody else's process can touch its files, and no account
has to be made. Often that user could not even reach them: a virtual environment or a data
directory under /root is behind a closed door. Opening the door would let in everyone, so the
program keeps one of root's capabilities instead, the one that passes closed directories, and only
where one is in the way.
"""

import os
import pwd
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from cli.embedded.datadir import StackError

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
DYNAMIC_USERS = range(64719, 65519)


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int
    capability: int | None = None

    def __str__(self) -> str:
        """As `launch.py` takes it."""
        capability = "-" if self.capability is None else self.capability
        return f"{self.uid}:{self.gid}:{capability}"


def account_of(uid: int, gid: int, program: Path, home: Path) -> Account:
    """The account with those ids, able to run `program` and to reach `home`.

    Raises `StackError` when this process cannot give it what it would need.
    """
    closed = [place for place in (*program.parents, *home.parents) if not _lets_through(place, uid)]
    runnable = _lets_through(program, uid)
    if runnable and not closed:
        return Account(uid, gid)
    # The weaker does not suffice to run a program that only root may run, and containers often
    # have the stronger one only.
    wanted = (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if runnable else (CAP_DAC_OVERRIDE,)
    held = _capabilities()
    for capability in wanted:
        if held >> capability & 1:
            return Account(uid, gid, capability)
    raise StackError(
        f"Postgres does not run as root, and no other user gets past {[*closed, program][0]}",
        "run mllm as a normal user, or keep it and its data directory somewhere open, as in /srv",
    )


def free_user_id() -> int:
    taken = {account.pw_uid for account in pwd.getpwall()}
    return next(uid for uid in DYNAMIC_USERS if uid not in taken)


def give(tree: Path, uid: int, gid: int) -> None:
    """Make that user the owner of a directory and of everything in it."""
    shutil.chown(tree, uid, gid)
    for folder, folders, files in os.walk(tree):
        for name in (*folders, *files):
            os.chown(os.path.join(folder, name), uid, gid, follow_symlinks=False)


def _lets_through(path: Path, uid: int) -> bool:
    stat = path.stat()
    return bool(stat.st_mode & (0o100 if stat.st_uid == uid else 0o001))


def _capabilities() -> int:
    """The effective capabilities of this process, as a bit set; none where there are none."""
    if sys.platform != "linux":
        return 0
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapEff:")[2].split()[0], 16)
