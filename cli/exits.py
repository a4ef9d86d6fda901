"""What the exit code says, and the one table that turns an error's `code` into it."""

from collections.abc import Mapping
from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    CONFLICT = 5
    VERIFICATION_FAILED = 6
    NO_SPACE = 7
    TIMED_OUT = 8
    OUT_OF_REACH = 9
    JOB_FAILED = 10
    JOB_CANCELLED = 11
    INTERRUPTED = 130


CODES: Mapping[str, Exit] = {
    "not_found": Exit.NOT_FOUND,
    "secret_not_found": Exit.NOT_FOUND,
    "weights_not_installed": Exit.NOT_FOUND,
    "gated": Exit.NOT_ALLOWED,
    "not_allowed": Exit.NOT_ALLOWED,
    "unauthenticated": Exit.NOT_ALLOWED,
    "conflict": Exit.CONFLICT,
    "fenced": Exit.CONFLICT,
    "stopping": Exit.CONFLICT,
    "busy": Exit.CONFLICT,
    "verification_failed": Exit.VERIFICATION_FAILED,
    "weights_corrupted": Exit.VERIFICATION_FAILED,
    "no_space": Exit.NO_SPACE,
    "timeout": Exit.TIMED_OUT,
    "timed_out": Exit.TIMED_OUT,
    "cancelled": Exit.JOB_CANCELLED,
}

STATUSES: Mapping[int, Exit] = {
    400: Exit.USAGE,
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    504: Exit.TIMED_OUT,
    507: Exit.NO_SPACE,
}


def of_code(code: str, otherwise: Exit) -> Exit:
    """The exit code of an error's stable code."""
    if code.startswith("forbidden"):
        return Exit.NOT_ALLOWED
    return CODES.get(code, otherwise)


def of_problem(code: str, status: int) -> Exit:
    """The exit code of a request the server refused."""
    return of_code(code, STATUSES.get(status, Exit.FAILED))


def of_job(status: str, code: str) -> Exit:
    """The exit code of a job that has ended."""
    if status == "completed":
        return Exit.OK
    if status == "cancelled":
        return Exit.JOB_CANCELLED
    return of_code(code, Exit.JOB_FAILED)
