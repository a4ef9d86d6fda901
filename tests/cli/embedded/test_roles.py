"""What the stack does for the programs that run on its servers."""

import os
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

import pytest

from cli.embedded import logs
from cli.embedded.datadir import StackError
from cli.embedded.process import is_alive
from cli.embedded.stack import Plan, open_stack
from cli.embedded.status import read_status
from tests.cli.embedded.standing import STAYS, appended, process_of, role
from tests.support import eventually


async def test_a_part_is_restarted_on_demand(root: Path) -> None:
    async with open_stack(root, Plan()) as stack:
        before = process_of(stack, "nats")
        await stack.restart("nats")
        assert process_of(stack, "nats") != before
        assert await appended(stack.urls) == 1


async def test_a_role_that_dies_is_started_again(root: Path, tmp_path: Path) -> None:
    async with open_stack(root, Plan([role(tmp_path, STAYS)])) as stack:
        os.kill(process_of(stack, "role").pid, SIGKILL)

        async def back() -> bool:
            return stack.parts["role"].restarts == 1 and stack.parts["role"].state == "ready"

        await eventually(back)


async def test_roles_are_stopped_before_the_servers_they_use(root: Path, tmp_path: Path) -> None:
    found = tmp_path / "found"
    looks = f"""
import os, signal, socket, sys, urllib.parse
def look(*_):
    server = urllib.parse.urlsplit(os.environ["MLLM_NATS_URL"])
    connection = socket.create_connection((server.hostname, server.port))
    open({str(found)!r}, "wb").write(connection.recv(4))
    sys.exit()
signal.signal(signal.SIGTERM, look)
{STAYS}"""
    async with open_stack(root, Plan([role(tmp_path, looks)])) as stack:
        processes = [process_of(stack, part) for part in stack.parts]
    assert found.read_bytes() == b"INFO"
    assert not any(is_alive(process) for process in processes)
    assert read_status(root) is None


async def test_a_role_that_will_not_stop_is_killed(root: Path, tmp_path: Path) -> None:
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAYS}"
    async with open_stack(root, Plan([role(tmp_path, deaf, grace=0.2)])) as stack:
        process = process_of(stack, "role")
    assert not is_alive(process)


async def test_a_role_that_cannot_start_is_named_with_its_last_words(
    root: Path, tmp_path: Path
) -> None:
    broken = role(tmp_path, "raise ValueError('no such setting')")
    with pytest.raises(StackError) as failed:
        async with open_stack(root, Plan([broken])):
            pass
    assert failed.value.message == "role did not start: ValueError: no such setting"
    assert str(root / "logs" / "role.log") in failed.value.remedy
    assert read_status(root) is None


async def test_a_role_that_is_never_ready_is_given_up(root: Path, tmp_path: Path) -> None:
    idle = replace(role(tmp_path, "import time; time.sleep(1000)"), within=0.3)
    with pytest.raises(StackError, match=r"role did not start: not ready after 0\.3 s"):
        async with open_stack(root, Plan([idle])):
            pass


async def test_a_role_that_has_not_even_begun_in_time_is_not_said_to_have_ended(
    root: Path, tmp_path: Path
) -> None:
    late = replace(role(tmp_path, STAYS), within=0.0)
    with pytest.raises(StackError, match="role did not start: not ready after 0 s"):
        async with open_stack(root, Plan([late])):
            pass


def test_a_long_log_is_moved_aside_and_the_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with logs.open_log(log) as writer:
        for age in ("first", "second", "third"):
            writer.write(age.encode())
            os.truncate(log, logs.LIMIT)
            logs.rotate(log)
        writer.write(b"last")
    assert log.read_bytes() == b"last"
    ages = [(tmp_path / f"part.log.{age}").read_bytes().rstrip(b"\0") for age in (1, 2)]
    assert ages == [b"third", b"second"]
    assert not (tmp_path / "part.log.3").exists()
