"""Processes that a measurement is spread over, so that none takes another's processor time."""

import asyncio
import multiprocessing
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from tests import servers


class Child(NamedTuple):
    pipe: Connection
    pid: int


@contextmanager
def child(target: object, *arguments: object) -> Generator[Child]:
    """A process that talks over a pipe, and ends with the block."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=target, args=(*arguments, theirs))  # type: ignore[arg-type]
    process.start()
    try:
        assert process.pid is not None
        yield Child(ours, process.pid)
    finally:
        process.kill()
        process.join()


@contextmanager
def nats_server(home: Path) -> Generator[str]:
    server = servers.nats_server(home / "nats")
    asyncio.run(server.start())
    try:
        yield server.url
    finally:
        server.stop()
