"""Becomes a server, as the only one of its instance.

Run by its path, `python -I -S launch.py FOLDER PROGRAM [ARGUMENT ...]`, so that it starts in
milliseconds, as the leader of a session of its own. It takes the lock in FOLDER and keeps it: the
program inherits it, and so do those of the program's children that inherit anything, so that the
kernel says whether the instance runs, whoever asks and whoever started it. What the lock's holder
is gets written beside it, and into the program's environment, where a damaged file can be mended
from.

The lock file is made by whoever wants the instance and unlinked by whoever removes it, never made
here: a launch that comes late finds none, or another, and gives up.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import sys
import time
from pathlib import Path

LOCK, RECORD, LOG = "lock", "instance.json", "server.log"
FACTS = "MLLM_INSTANCE_FACTS"
TAKEN = 75
PATIENCE = 1.0  # seconds; whoever only looks at the lock holds it for an instant


def main() -> None:
    folder, program = Path(sys.argv[1]), sys.argv[2:]
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    try:
        _redirect(folder / LOG)
        lock = os.open(folder / LOCK, os.O_RDWR)
        if not _own(lock, folder / LOCK):
            sys.exit(TAKEN)
        os.environ[FACTS] = _record(program)
        write(folder / RECORD, os.environ[FACTS])
        os.set_inheritable(lock, True)
        os.chdir("/")
        os.execv(program[0], program)
    except FileNotFoundError as error:
        if not (folder / LOCK).exists():
            sys.exit(TAKEN)
        sys.exit(f"cannot start {program[0]}: {error}")
    except OSError as error:
        sys.exit(f"cannot start {program[0]}: {error}")


def write(path: Path, text: str) -> None:
    """Replace a file, so that nobody reads half of it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def started(pid: int) -> int:
    """When a process began, in clock ticks since boot; 0 where that can not be told.

    Raises `OSError` when there is no such process.
    """
    if sys.platform != "linux":
        return 0
    stat = Path(f"/proc/{pid}/stat").read_text()
    # The command's name, in parentheses, may hold anything; field 22 is counted from its end.
    return int(stat.rpartition(")")[2].split()[19])


def boot() -> str:
    """What tells this boot of the machine from every other; empty where that can not be told."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _redirect(log: Path) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    output, nothing = os.open(log, flags, 0o600), os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)


def _own(lock: int, path: Path) -> bool:
    """Take the lock, and be sure that it still is the instance's."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return os.path.samestat(os.fstat(lock), path.stat())


def _record(program: list[str]) -> str:
    facts = json.loads(os.environ[FACTS])
    digest = hashlib.sha256("\0".join(program).encode()).hexdigest()
    pid = os.getpid()
    mine = {"pid": pid, "started": started(pid), "boot": boot(), "digest": digest}
    return json.dumps({**facts, **mine})


if __name__ == "__main__":
    main()
