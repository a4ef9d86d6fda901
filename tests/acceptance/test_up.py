"""`mllm up`: one machine, one command, whatever dies."""

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
import pytest

from cli.embedded.nats import free_ports
from cli.embedded.status import StackStatus, read_status
from tests.acceptance.test_installing import MIB, assert_installed, fresh
from tests.acceptance.test_stopping import sent, slowly
from tests.hub import Hub
from tests.system import TOKEN, System, wait


class Machine(System):
    """A machine with its own data directory, on which `mllm up` is typed."""

    def up(self) -> None:
        """Start everything."""
        ran = self.cli("up", "--detach")
        assert ran.code == 0, ran.err + ran.out

    @property
    def status(self) -> StackStatus:
        status = read_status(Path(self.env["MLLM_DATA_DIR"]))
        assert status is not None
        return status

    def pid(self, part: str) -> int:
        process = self.status.parts[part].process
        assert process is not None
        return process.pid

    def log(self, name: str) -> str:
        return (Path(self.env["MLLM_DATA_DIR"]) / "logs" / f"{name}.log").read_text()[-3000:]


@contextmanager
def machine_at(hub: Hub, **settings: str) -> Generator[Machine]:
    """A machine with nothing on it yet; what was started there ends with the block."""
    with TemporaryDirectory(prefix="mllm-up-") as place:
        home = Path(place)
        home.chmod(0o711)
        env = {
            "PATH": os.environ["PATH"],
            "HOME": place,
            "XDG_CONFIG_HOME": f"{place}/config",
            "MLLM_DATA_DIR": f"{place}/data",
            "MLLM_WEIGHTS_DIR": f"{place}/data/weights",
            "MLLM_PORT": str(free_ports(1)[0]),
            "MLLM_API_TOKEN": TOKEN,
            "MLLM_LEASE_SECONDS": "3",
            "MLLM_HEARTBEAT_SECONDS": "0.5",
            "MLLM_BACKOFF_SECONDS": "0.1",
            "MLLM_WATCHDOG_SECONDS": "1",
            "MLLM_XET": "off",
            "HF_ENDPOINT": hub.url,
        }
        made = Machine(home, env | settings)
        try:
            yield made
        finally:
            made.cli("down")


@pytest.fixture
def machine(hub: Hub) -> Generator[Machine]:
    with machine_at(hub) as made:
        yield made


def test_up_twice_in_a_row_finds_what_was_there_and_writes_the_context(
    machine: Machine, hub: Hub
) -> None:
    repo = fresh(hub)
    machine.up()
    with_context = {"MLLM_SERVER": "", "MLLM_TOKEN": ""}
    env = {k: v for k, v in machine.env.items() if k not in with_context}
    listed = subprocess.run(
        [sys.executable, "-m", "cli", "status"], env=env, capture_output=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    machine.until(machine.install(repo.id)["job"]["id"])
    assert machine.cli("down").code == 0

    machine.up()

    assert_installed(machine, repo)
    assert [row["name"] for row in machine.get("/weights")["items"]] == [repo.id]


def test_a_secret_is_a_file_of_the_owner_alone(machine: Machine) -> None:
    machine.up()

    assert machine.call("PUT", "/secrets/hub", {"value": "hf_value"}).is_success

    kept = Path(machine.env["MLLM_DATA_DIR"]) / "secrets" / "default" / "hub"
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == ("hf_value", 0o600)


def test_what_is_said_to_stop_a_detached_stack_does(machine: Machine) -> None:
    elsewhere = Path(machine.env["HOME"]) / "else where"
    for flags in ([], ["--data-dir", str(elsewhere)]):
        ran = machine.cli("up", "--detach", *flags)
        found = re.search("`mllm (down.*?)` stops everything$", ran.out, re.MULTILINE)
        assert found is not None, ran.err + ran.out

        down = machine.cli(*shlex.split(found[1]))

        assert (down.code, down.err) == (0, "stopped\n")


def test_a_second_up_on_the_same_data_says_so_in_one_line(machine: Machine) -> None:
    machine.up()

    again = machine.cli("up", MLLM_PORT=str(free_ports(1)[0]))

    assert again.code == 1
    assert "already up" in again.err


@pytest.mark.parametrize("parts", [("nats",), ("postgres",), ("gateway", "processors")])
def test_any_part_may_be_killed_while_weights_are_fetched(
    machine: Machine, hub: Hub, parts: tuple[str, ...]
) -> None:
    repo = fresh(hub, big=48 * MIB)
    machine.up()
    with slowly(hub, MIB // 4):
        job = machine.install(repo.id)["job"]["id"]
        wait(lambda: sent(hub, repo) > 4 * MIB, lambda: machine.log("processors"))
        for part in parts:
            os.kill(machine.pid(part), signal.SIGKILL)
        wait(lambda: _reachable(machine), lambda: machine.log("gateway"))

    done = machine.until(job)

    assert done["status"] == "completed", done
    assert_installed(machine, repo)
    events = machine.events(job)
    assert events.count("job.completed") == 1
    assert events[-1] == "job.completed"


def test_everything_may_be_killed_at_once(machine: Machine, hub: Hub) -> None:
    repo = fresh(hub, big=48 * MIB)
    machine.up()
    with slowly(hub, MIB // 4):
        job = machine.install(repo.id)["job"]["id"]
        wait(lambda: sent(hub, repo) > 4 * MIB, lambda: machine.log("processors"))
        parts = [machine.pid(part) for part in machine.status.parts]
        os.kill(machine.status.process.pid, signal.SIGKILL)
        for pid in parts:
            _kill(pid)
        wait(lambda: not any(map(psutil.pid_exists, parts)), lambda: str(parts))

    machine.up()
    done = machine.until(job)

    assert done["status"] == "completed", done
    assert_installed(machine, repo)


def test_nothing_is_left_running_after_down(machine: Machine) -> None:
    machine.up()
    pids = [machine.status.process.pid, *(machine.pid(part) for part in machine.status.parts)]

    assert machine.cli("down").code == 0

    wait(lambda: not any(map(psutil.pid_exists, pids)), lambda: str(pids))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reachable(machine: Machine) -> bool:
    try:
        return machine.call("GET", "/readyz").is_success
    except httpx.HTTPError:
        return False
