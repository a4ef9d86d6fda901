"""Gateways to ask."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.gateway.rig import Rig, gateway


@pytest.fixture
async def gate(nats_url: str, stream_prefix: str, tmp_path: Path) -> AsyncGenerator[Rig]:
    """A gateway without Postgres: what commands, access and the stream need not."""
    async with gateway(nats_url, stream_prefix, tmp_path) as rig:
        yield rig


@pytest.fixture
async def house(
    nats_url: str, stream_prefix: str, database_url: str, tmp_path: Path
) -> AsyncGenerator[Rig]:
    """A gateway with its read models, which are kept up to date."""
    async with gateway(nats_url, stream_prefix, tmp_path, database_url) as rig:
        yield rig


@pytest.fixture
async def late(
    nats_url: str, stream_prefix: str, database_url: str, tmp_path: Path
) -> AsyncGenerator[Rig]:
    """A gateway whose read models nobody keeps up to date."""
    async with gateway(nats_url, stream_prefix, tmp_path, database_url, projecting=False) as rig:
        yield rig
