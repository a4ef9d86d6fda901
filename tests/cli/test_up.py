"""`mllm up` where something is in its way, or where it listens elsewhere than usual."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cli.embedded.nats import free_ports
from cli.embedded.status import read_status


@contextmanager
def detached(data: Path, *flags: str) -> Generator[None]:
    """A stack on `data`, which ends with the block."""
    place = ("--data-dir", str(data))
    mllm = (sys.executable, "-m", "cli")
    try:
        up = [*mllm, "up", "--detach", *place, "--port", str(free_ports(1)[0]), *flags]
        subprocess.run(up, check=True, capture_output=True)
        yield
    finally:
        subprocess.run([*mllm, "down", *place], check=True, capture_output=True)


def listens_on(data: Path, role: str) -> set[str]:
    """The addresses that a role listens on."""
    status = read_status(data)
    assert status is not None
    process = status.parts[role].process
    assert process is not None
    connections = psutil.Process(process.pid).net_connections("tcp")
    return {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}


def test_only_the_gateway_listens_where_others_can_ask(home: Path) -> None:
    with detached(home / "data", "--host", "0.0.0.0"):
        assert listens_on(home / "data", "gateway") == {"0.0.0.0"}
        for role in ("projections", "processors"):
            assert listens_on(home / "data", role) == {"127.0.0.1"}
