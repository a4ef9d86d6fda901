"""What tests do with a stack: write to it, read from it, run it apart from themselves."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGKILL

import msgspec
import nats
import psycopg
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from cli.embedded.account import Account
from cli.embedded.child import Part, command
from cli.embedded.datadir import DataDir
from cli.embedded.nats import Nats, Settings
from cli.embedded.process import ProcessRecord
from cli.embedded.stack import Stack, Urls
from cli.embedded.status import StackStatus, read_status
from tests.support import PATIENCE

ROOT = Path(__file__).parents[3]
ENV = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}

# The script of a role that is ready at once.
STAYS = "import time; open(mark, 'w').close(); time.sleep(1000)"


async def append(urls: Urls, data: bytes) -> None:
    async with connected(urls) as connection:
        await connection.jetstream(timeout=PATIENCE).publish("evt.a", data)


async def can_append(urls: Urls, data: bytes = b"more") -> bool:
    """Whether it is heard soon that it was written: if not, it may have been all the same."""
    try:
        async with connected(urls) as connection:
            await connection.jetstream(timeout=0.5).publish("evt.a", data)
    except (NatsError, OSError, TimeoutError):
        return False
    return True


async def ailment(root: Path) -> str | None:
    """What the NATS there says is wrong with it."""
    home = DataDir(root).nats
    settings = msgspec.json.decode((home / "settings.json").read_bytes(), type=Settings)
    return await Nats(home, settings).ailment()


async def appended(urls: Urls) -> int:
    async with connected(urls) as connection:
        return (await connection.jetstream(timeout=PATIENCE).stream_info("EVT")).state.messages


@asynccontextmanager
async def connected(urls: Urls) -> AsyncGenerator[Client]:
    connection = await nats.connect(urls.nats)
    try:
        stream = StreamConfig(name="EVT", subjects=["evt.>"])
        await connection.jetstream(timeout=PATIENCE).add_stream(stream)
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
        async with asyncio.timeout(PATIENCE):
            while (line := await process.stdout.readline()) != b"up\n":
                assert line, "it ended before it was up"
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def stand(root: Path, user: Account | None) -> Sequence[str]:
    program = (sys.executable, "-m", "tests.cli.embedded", str(root))
    return command(program, SIGKILL, user) if user and os.geteuid() == 0 else program


def up(root: Path) -> StackStatus:
    status = read_status(root)
    assert status is not None
    return status


def copied(root: Path, place: Path) -> Path:
    """The same directory elsewhere, owners and all."""
    subprocess.run(["cp", "-a", root, place], check=True)
    return place


def role(tmp_path: Path, script: str, *, name: str = "role", grace: float = PATIENCE) -> Part:
    """A role that runs a Python script, which makes the file `name` when it is ready."""
    mark = tmp_path / name

    async def ready() -> bool:
        return mark.exists()

    argv = (sys.executable, "-c", f"mark = {str(mark)!r}\n{script}")
    return Part(name, argv, ready, dict(os.environ), within=PATIENCE, grace=grace)
