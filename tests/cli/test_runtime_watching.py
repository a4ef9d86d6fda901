"""Following an activation while the way to it is troubled."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.api.problem import Page
from schemas.api.runtime import ActivationRow, CandidateRow, SlotRow
from schemas.runtime import PhaseTime
from tests.cli.fake_gateway import TOKEN, FakeGateway, Seen, serve
from tests.cli.support import CommandLine

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
ID = "01JD1111111111111111111111"
CANDIDATE = CandidateRow(
    ID, "llama", 7, "org/model", "default", "b", "blue-green", "token/a", NOW, worker="w"
)
SLOT = SlotRow("default", "active-llm", "activating", 9, NOW, candidate=CANDIDATE)
SERVING = SlotRow("default", "active-llm", "serving", 12, NOW, "llama", 7, ID)
ROW = ActivationRow(
    namespace="default",
    id=ID,
    slot="active-llm",
    kind="activation",
    outcome="completed",
    model="llama",
    by="token/a",
    requested_at=NOW,
    updated_at=NOW,
    position=12,
    correlation="request-7",
    phases=(PhaseTime("start", 100), PhaseTime("switch", 5)),
    ms=1500,
    ended_at=NOW,
)


def answer(gateway: FakeGateway, seen: Seen) -> tuple[int, Page[Any]]:
    """A slot whose activation is over as soon as somebody asks how it went."""
    if seen.path == "/runtime/history":
        return 200, Page((ROW,))
    if seen.path == "/models/status":
        return 200, Page(())
    asked = any(one.path == "/runtime/history" for one in gateway.seen)
    return 200, Page((SERVING if asked else SLOT,))


@pytest.fixture
def streamless(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    """A gateway behind something that lets no stream through."""
    with serve(answer) as running:
        running.refuse("/events", "not_found", 404)
        monkeypatch.setenv("MLLM_SERVER", running.url)
        monkeypatch.setenv("MLLM_TOKEN", TOKEN)
        yield running


def test_without_a_stream_it_is_asked_for(streamless: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("rollout", "status", "--progress", "plain")

    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[1].split()[:3] == ["active-llm", "serving", "llama"]
    assert outcome.err.splitlines() == [
        "activate llama in active-llm: started",
        "activate llama in active-llm: completed, after 1.5s",
    ]
    assert streamless.last("GET", "/runtime/history").query["activation"] == [ID]


def test_one_whose_token_is_refused_is_not_asked_for_again(
    streamless: FakeGateway, mllm: CommandLine
) -> None:
    streamless.refuse("/events", "token_revoked", 401)
    outcome = mllm("rollout", "status")

    assert outcome.code == 4
    assert "request id: request-9" in outcome.err
