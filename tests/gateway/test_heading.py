"""Heads of requests have an end, whoever sends them."""

import asyncio
from contextlib import suppress

import pytest

from tests.gateway.rig import Rig
from tests.support import PATIENCE

MIB = 1024 * 1024


async def told(gate: Rig, *sent: bytes) -> bytes:
    """How the answers to some bytes begin."""
    host, _, port = gate.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for one in sent:
            writer.write(one)
        with suppress(ConnectionError):
            await writer.drain()
        async with asyncio.timeout(PATIENCE):
            return await reader.read(100)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "head",
    [b"x: " + b"a" * 4 * MIB, b"x: a\r\n" * MIB, b"a" * 4 * MIB + b": x"],
    ids=["one long header", "many headers", "a long name"],
)
async def test_a_head_without_an_end_is_cut_off(gate: Rig, head: bytes) -> None:
    try:
        answer = await told(gate, b"GET /health HTTP/1.1\r\nhost: x\r\n", head)
    except ConnectionError:
        answer = b""  # told, and gone before it was read

    assert not answer.startswith(b"HTTP/1.1 200")
    assert (await gate.ask("GET", "/health")).status_code == 200


async def test_a_long_head_is_not_yet_too_long(gate: Rig) -> None:
    answer = await told(
        gate, b"GET /health HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 60_000 + b"\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 200")


async def test_requests_that_come_together_are_all_answered(gate: Rig) -> None:
    large = b"POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n" + bytes(300_000)

    answer = await told(gate, large, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 405")
