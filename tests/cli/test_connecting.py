"""Connections of roles, and what becomes of a role without one."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import pytest

from cli.connecting import nats_connection
from cli.failures import OutOfReach
from cli.roles.leaving import told
from tests.support import PATIENCE

INFO = b'INFO {"server_id":"fake","version":"2.12.0","headers":true,"max_payload":1048576}\r\n'


@pytest.fixture
async def unfriendly() -> AsyncGenerator[str]:
    """The address of a NATS that welcomes everybody, and then will have no more of them."""

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        await reader.readuntil(b"PING\r\n")
        writer.write(b"PONG\r\n-ERR 'User Authentication Expired'\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(welcome, "127.0.0.1")
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_role_whose_connection_is_closed_for_good_is_told_to_leave(
    unfriendly: str,
) -> None:
    leave = told()
    async with nats_connection(unfriendly, "test") as connection, asyncio.timeout(PATIENCE):
        await leave.wait()
        assert connection.is_closed


@contextmanager
def bound() -> Generator[int]:
    """A port that nobody listens on, and nobody else can take."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield silent.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "nobody.invalid"])
async def test_a_nats_that_is_not_there_to_begin_with_is_waited_for_and_then_given_up(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        bound() as port,
        caplog.at_level(logging.WARNING),
        pytest.raises(OutOfReach, match="NATS does not answer: "),
    ):
        async with nats_connection(f"nats://{host}:{port}", "test", patience=0.5):
            pass

    assert caplog.messages == []
