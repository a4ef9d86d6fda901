"""Data directories to stand a stack on."""

import shutil
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from cli.embedded.stack import Plan, open_stack
from tests.cli.embedded.standing import append, copied, insert


@pytest_asyncio.fixture(scope="session", loop_scope="session")
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
