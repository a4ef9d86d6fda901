"""The stack comes up in order, on any data directory that is fit for it, and goes down again."""

import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from cli.embedded.datadir import FORMAT, DataDir, StackError
from cli.embedded.process import is_alive
from cli.embedded.stack import Plan, Stack, Urls, open_stack
from cli.embedded.status import read_status
from tests.cli.embedded.standing import (
    STAYS,
    append,
    appended,
    insert,
    inserted,
    role,
    standing,
    up,
)
from tests.support import eventually


async def test_parts_start_in_order_and_roles_find_the_servers(
    own_root: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    seen = tmp_path / "seen"
    tells = f"import os; open({str(seen)!r}, 'w').write(os.environ['MLLM_NATS_URL']); {STAYS}"

    async def migrate(urls: Urls) -> None:
        await append(urls, b"migrated")
        await insert(urls, "migrated")
        said.append("migrate")

    roles = [role(tmp_path, tells, name="one"), role(tmp_path, STAYS, name="two")]
    plan = Plan(roles, migrate, on_ready=lambda part, _: said.append(part))
    async with open_stack(own_root, plan) as stack:
        assert sorted(said[:2]) == ["nats", "postgres"]
        assert said[2] == "migrate"
        assert sorted(said[3:]) == ["one", "two"]
        assert seen.read_text() == stack.urls.nats
        assert {status.state for status in stack.parts.values()} == {"ready"}


async def test_each_part_that_is_ready_says_how_long_that_took(root: Path) -> None:
    took: dict[str, float] = {}
    async with open_stack(root, Plan(on_ready=took.__setitem__)):
        pass
    assert took.keys() == {"nats", "postgres"}
    assert min(took.values()) > 0


async def test_nobody_publishes_without_the_password(root: Path) -> None:
    async with open_stack(root, Plan()) as stack:
        status = read_status(root)
        assert status is not None
        address = status.nats

        async def turned_away() -> bool:
            stranger = Client()
            with pytest.raises((NatsError, TimeoutError)) as refused:
                await stranger.connect(address, allow_reconnect=False)
            await stranger.close()
            return "Authorization" in str(refused.value)  # else whoever is slow is not heard

        await eventually(turned_away)
        for secret in ("nats.conf", "settings.json"):
            assert (root / "nats" / secret).stat().st_mode & 0o077 == 0
        assert nats_password(stack) not in DataDir(root).status.read_text()


def nats_password(stack: Stack) -> str:
    return re.split("[:@]", stack.urls.nats)[2]


async def test_the_address_stays_the_same_from_start_to_start(root: Path) -> None:
    async with open_stack(root, Plan()) as stack:
        first = stack.urls
    async with open_stack(root, Plan()) as stack:
        assert stack.urls == first


async def test_only_one_stack_is_up_on_a_data_directory(root: Path) -> None:
    async with standing(root) as process:
        with pytest.raises(StackError, match=f"already up on .* \\(process {process.pid}\\)"):
            async with open_stack(root, Plan()):
                pass
        assert up(root).is_up()


async def test_a_stopped_stack_says_so_and_leaves_no_process(root: Path) -> None:
    async with standing(root) as process:
        parts = [part.process for part in up(root).parts.values() if part.process]
        process.terminate()
        assert await process.wait() == 0
    assert read_status(root) is None
    assert not any(is_alive(part) for part in parts)


async def test_a_data_directory_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text(f"{FORMAT + 1}\n")
    with pytest.raises(StackError, match="written by a newer mllm"):
        async with open_stack(tmp_path, Plan()):
            pass
    assert os.listdir(tmp_path) == ["VERSION"]


async def test_a_database_of_another_version_is_refused(own_root: Path) -> None:
    (own_root / "postgres" / "PG_VERSION").write_text("19\n")
    with pytest.raises(StackError, match="holds a database of version 19"):
        async with open_stack(own_root, Plan()):
            pass


async def test_a_broken_database_is_said_in_one_line(own_root: Path) -> None:
    (own_root / "postgres" / "global" / "pg_control").write_bytes(b"nonsense")
    with pytest.raises(StackError) as failed:
        async with open_stack(own_root, Plan()):
            pass
    assert failed.value.message.startswith("postgres did not start: could not read file")
    assert str(own_root / "logs" / "postgres.log") in failed.value.remedy


async def test_a_full_disk_is_said_before_anything_starts(root: Path) -> None:
    with pytest.raises(StackError, match="is full: 1 MiB free, 64 MiB needed"):
        async with open_stack(root, Plan(free=lambda _: 1 << 20)):
            pass


async def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="file/data: not a directory"):
        async with open_stack(tmp_path / "file" / "data", Plan()):
            pass


async def test_a_port_asked_for_must_be_free(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"port {port} on 127.0.0.1 is in use"):
            async with open_stack(root, Plan(nats_port=port)):
                pass


async def test_a_port_of_our_own_choice_that_was_taken_meanwhile_is_replaced(root: Path) -> None:
    async with open_stack(root, Plan()) as stack:
        before = stack.urls.nats
    with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))):
        async with open_stack(root, Plan()) as stack:
            assert stack.urls.nats != before
            assert await appended(stack.urls) == 1


async def test_a_data_directory_may_have_any_name(own_root: Path) -> None:
    odd = own_root.with_name(f'{"long" * 30}, it\'s "odd" $HOME %20')
    os.rename(own_root, odd)
    async with open_stack(odd, Plan()) as stack:
        first = stack.urls
        assert await appended(stack.urls) == 1
        assert await inserted(stack.urls) == ["first"]
    async with open_stack(odd, Plan()) as stack:
        assert stack.urls == first
    shutil.rmtree((odd / "run" / "sockets").read_text())
