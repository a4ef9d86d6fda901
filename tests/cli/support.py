"""Running the command line in a test, and doing something else meanwhile."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from cli.main import run


@dataclass
class Outcome:
    code: int
    out: str
    err: str


class CommandLine:
    """Runs verbs in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *argv: str) -> Outcome:
        code = run(argv)
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)


@contextmanager
def meanwhile(action: Callable[[], None]) -> Generator[None]:
    """Have `action` done by another thread; what it raises is raised at the end."""
    failures: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as error:  # an assertion, too: it is raised below
            failures.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    yield
    thread.join()
    if failures:
        raise failures[0]
