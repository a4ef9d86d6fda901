"""`mllm up` where something is in its way, or where it listens elsewhere than usual."""

import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from cli.embedded.nats import free_ports
from cli.embedded.status import read_status
from tests.system import wait


def mllm(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own: roles set up what a process has one of."""
    argv = (sys.executable, "-m", "cli", *argv)
    return subprocess.run(argv, capture_output=True, text=True)


@contextmanager
def detached(data: Path, *flags: str) -> Generator[None]:
    """A stack on `data`, which ends with the block."""
    place = ("--data-dir", str(data))
    try:
        up = mllm("up", "--detach", *place, "--port", str(free_ports(1)[0]), *flags)
        late = "the stack is not ready yet" in up.stderr  # then it goes on, and is waited for
        assert up.returncode == 0 or late, up.stdout + up.stderr
        yield
    finally:
        mllm("down", *place)


def listens_on(data: Path, role: str) -> set[str]:
    """The addresses that a role listens on, once it does."""
    found: set[str] = set()

    def listens() -> bool:
        status = read_status(data)
        part = status.parts.get(role) if status else None
        process = part.process if part else None
        with suppress(psutil.NoSuchProcess):
            connections = psutil.Process(process.pid).net_connections("tcp") if process else ()
            found.update(one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN)
        return bool(found)

    wait(listens, lambda: str(read_status(data)))
    return found


def test_only_the_gateway_listens_where_others_can_ask(home: Path) -> None:
    with detached(home / "data", "--host", "0.0.0.0"):
        assert listens_on(home / "data", "gateway") == {"0.0.0.0"}
        for role in ("projections", "processors"):
            assert listens_on(home / "data", role) == {"127.0.0.1"}


@pytest.mark.parametrize("flags", [("--detach",), ()])
def test_a_data_directory_that_can_not_be_one_is_named(home: Path, flags: tuple[str, ...]) -> None:
    (home / "file").touch()

    for place in ("/proc/x", str(home / "file")):
        outcome = mllm("up", *flags, "--data-dir", place, "--port", "0")

        assert outcome.returncode == 1
        assert f"error: cannot use the data directory: {place}" in outcome.stderr


@pytest.mark.parametrize("verb", ["up", "serve gateway"])
def test_a_port_that_is_taken_is_named(home: Path, verb: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = mllm(*verb.split(), "--port", str(port))

    assert outcome.returncode == 1
    assert f"error: 127.0.0.1:{port} can not be listened on" in outcome.stderr


def test_a_place_for_weights_that_can_not_be_one_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()

    for place in ("/proc/x", str(home / "file")):
        monkeypatch.setenv("MLLM_WEIGHTS_DIR", place)
        outcome = mllm("serve", "processors")

        assert outcome.returncode == 2
        assert f"error: MLLM_WEIGHTS_DIR can not be used: {place}" in outcome.stderr


def test_nothing_is_up_where_there_is_no_directory(home: Path) -> None:
    (home / "file").touch()

    assert "nothing is up" in mllm("down", "--data-dir", str(home / "file")).stderr
