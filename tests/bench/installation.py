"""What is measured: an installation with servers of its own, set up as `mllm up` does it."""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.rebuild import servers
from tests.system import ROLES, System, system

DEFAULTS = {
    "MLLM_LEASE_SECONDS": "60",
    "MLLM_HEARTBEAT_SECONDS": "2",
    "MLLM_BACKOFF_SECONDS": "2",
    "MLLM_STALL_SECONDS": "30",
    "MLLM_WATCHDOG_SECONDS": "15",
    "MLLM_DISK_RESERVE": "2GiB",
}
"""What users have who set nothing, where tests are in a hurry."""


@contextmanager
def installation(hub: str, *roles: str, **settings: str) -> Generator[System]:
    """A running installation on a new disk, log and database; it is gone after the block.

    Postgres, unlike in tests, waits for its disk; so does NATS. `roles` are all by default.
    """
    with TemporaryDirectory(prefix="mllm-bench-") as home, asyncio.Runner() as runner:
        started = servers(Path(home))
        nats, database = runner.run(started.__aenter__())
        try:
            place = Path(home, "system")
            with system(place, nats, database, "bench", hub, **{**DEFAULTS, **settings}) as made:
                made.start(*(roles or ROLES))
                yield made
                made.stop()
        finally:
            runner.run(started.__aexit__(None, None, None))


@contextmanager
def hub(*words: str) -> Generator[str]:
    """The address of a Hub that runs as a process of its own; see `python -m tests.hub --help`."""
    command = [sys.executable, "-m", "tests.hub", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        try:
            yield serving.stdout.readline().strip()
        finally:
            serving.terminate()
