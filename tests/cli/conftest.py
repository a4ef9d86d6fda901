"""A gateway, and a command line that finds it and nothing of whoever runs the tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import display
from tests.cli.fake_gateway import TOKEN, FakeGateway
from tests.cli.fake_routes import fake_gateway
from tests.cli.support import CommandLine
from tests.support import PATIENCE


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home directory, and no setting in the environment."""
    for name in list(os.environ):
        if name.startswith(("MLLM_", "XDG_", "HF_", "NO_COLOR", "OTEL_", "TRACEPARENT")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def gateway(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """A running gateway that the command line talks to, with a token it knows."""
    with fake_gateway() as running:
        monkeypatch.setenv("MLLM_SERVER", running.url)
        monkeypatch.setenv("MLLM_TOKEN", TOKEN)
        yield running


@pytest.fixture
def mllm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A command line that, however long something takes, says of it only what is new."""
    monkeypatch.setattr(display, "PLAIN_SECONDS", PATIENCE)
    return CommandLine(capsys)
