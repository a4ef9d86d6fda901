"""Becomes another program that does not outlive the process that asked for it.

Run by its path, `python -I -S launch.py PARENT SIGNAL ACCOUNT PROGRAM [ARGUMENT ...]`, so that it
starts in milliseconds: when process PARENT is gone, the program receives SIGNAL (on Linux;
elsewhere the next start finds it by its record). ACCOUNT is `-`, or `UID:GID:CAPABILITY` for a
program that must not run as root; CAPABILITY is `-` or the number of the one Linux capability it
keeps.

A preexec function could do the same, but it would run Python between fork and exec, where a lock
that another thread held stays locked for ever.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 4
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    parent, signal, account, *program = sys.argv[1:]
    try:
        if account != "-":
            become(account)
        if sys.platform == "linux":
            # After the change of account, which would clear it.
            _prctl(PR_SET_PDEATHSIG, int(signal))
            if os.getppid() != int(parent):
                return  # the parent was gone before it could be watched
        os.execv(program[0], program)
    except OSError as error:
        sys.exit(f"cannot start {program[0]}: {error}")


def become(account: str) -> None:
    """Give up root for good, but for one capability where it is named."""
    uid, gid, capability = account.split(":")
    if capability != "-":
        # Neither does the change of user take the capability away then, nor does the program's
        # access(2), which Postgres asks about its own files, leave it out of account.
        _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
    if capability != "-":
        _keep_only(int(capability))


def _keep_only(capability: int) -> None:
    """Hold one capability, and pass it on to the program and to its children."""
    word, bit = divmod(capability, 32)
    sets = [0] * 6  # effective, permitted, inheritable; then the same for the upper 32 bits
    sets[word * 3 : word * 3 + 3] = [1 << bit] * 3
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    if libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(*sets))):
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = (*arguments, 0, 0, 0, 0)[:4]
    if libc.prctl(ctypes.c_int(option), *map(ctypes.c_ulong, padded)):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    main()
