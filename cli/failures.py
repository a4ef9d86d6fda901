"""What ends a verb early: a cause, what to do about it, and the exit code that says so."""

from collections.abc import Sequence

from cli.exits import Exit

PASSING = frozenset(
    {"read_models_unavailable", "read_model_behind", "log_unavailable", "unavailable"}
)
"""Codes of refusals that are over soon."""


class Failure(Exception):
    """`cause` and `remedy` are one line each, for people, and `lines` what stands behind the cause;
    `code` and `request_id` are the server's."""

    def __init__(
        self,
        cause: str,
        remedy: str = "",
        *,
        exit: Exit = Exit.FAILED,
        code: str = "",
        request_id: str = "",
        lines: Sequence[str] = (),
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.lines = lines
        self.remedy = remedy
        self.exit = exit
        self.code = code
        self.request_id = request_id

    @property
    def passing(self) -> bool:
        """Whether it may be over soon: a part of the server is down, or all of it."""
        return self.code in PASSING or self.exit == Exit.OUT_OF_REACH


class Misused(Failure):
    """The command line, a setting or the configuration file says something that can not be."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy, exit=Exit.USAGE)


class OutOfReach(Failure):
    """Nothing answered at the server's address, or what answered is not mllm."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy, exit=Exit.OUT_OF_REACH)
