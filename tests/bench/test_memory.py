"""Memory that a process has given back still counts."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

from tests.bench.memory import HighWater, high_water
from tests.system import wait

GREEDY = """
block = b"x" * (64 << 20)
del block
print("done", flush=True)
input()
"""


@contextmanager
def greedy() -> Generator[int]:
    """A child that has had 64 MiB, and has them no longer."""
    command = [sys.executable, "-c", GREEDY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def test_the_most_that_a_process_has_had_is_told() -> None:
    with greedy() as pid:
        assert 64 < high_water(pid) < 128


def test_a_child_is_watched_while_it_lives() -> None:
    with HighWater(os.getpid(), "64 << 20") as seen, greedy():
        wait(lambda: seen.peak > 64, lambda: f"seen {seen.peak} MiB")

    with HighWater(os.getpid(), "64 << 20") as unseen:
        pass

    assert seen.peak < 128
    assert unseen.peak == 0
