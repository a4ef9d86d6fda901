"""A terminal that a test looks at: a program's pty, and a screen that its output draws."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from fcntl import ioctl

from tests.support import PATIENCE

CONTROL = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|[\r\n]|[^\x1b\r\n]+")


class Screen:
    """As much of a terminal as the progress display needs."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self._row = 0

    def write(self, text: str) -> None:
        for match in CONTROL.finditer(text):
            self._take(match)

    def _take(self, match: re.Match[str]) -> None:
        text, count = match[0], int(match[1] or 1) if (match[1] or "1").isdecimal() else 1
        if text == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append("")
        elif match[2] == "A":
            self._row = max(0, self._row - count)
        elif match[2] == "K":
            self.lines[self._row] = ""
        elif match[2] == "J":
            del self.lines[self._row + 1 :]
            self.lines[self._row] = ""
        elif text != "\r" and match[2] is None:
            self.lines[self._row] += text


class Terminal:
    """A program that believes somebody is there."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int) -> None:
        self.process = process
        self.output = ""
        self._master = master

    @property
    def screen(self) -> Sequence[str]:
        screen = Screen()
        screen.write(self.output)
        return [line.rstrip() for line in screen.lines]

    def until(self, seen: Callable[[], bool]) -> None:
        """Read what the program says until `seen`."""
        deadline = time.monotonic() + PATIENCE
        while not seen():
            assert time.monotonic() < deadline, self.output
            if select.select([self._master], [], [], 0.1)[0] and not self._read():
                assert seen(), self.output

    def says(self, text: str) -> None:
        self.until(lambda: text in self.output)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def exit(self) -> int:
        """Wait for the end. Returns the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says EIO when the program is gone
            return False
        self.output += data.decode()
        return bool(data)


@contextmanager
def terminal(*argv: str, columns: int = 80) -> Generator[Terminal]:
    """Run `mllm` on a terminal of its own."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *argv],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
