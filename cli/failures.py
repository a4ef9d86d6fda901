"""What ends a verb early: a cause, what to do about it, and the exit code that says so."""

from cli.exits import Exit


class Failure(Exception):
    """`cause` and `remedy` are one line each, for people; `code` and `request_id` the server's."""

    def __init__(
        self,
        cause: str,
        remedy: str = "",
        *,
        exit: Exit = Exit.FAILED,
        code: str = "",
        request_id: str = "",
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.exit = exit
        self.code = code
        self.request_id = request_id


class Misused(Failure):
    """The command line, a setting or the configuration file says something that can not be."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy, exit=Exit.USAGE)


class OutOfReach(Failure):
    """Nothing answered at the server's address, or what answered is not mllm."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause, remedy, exit=Exit.OUT_OF_REACH)
