from datetime import UTC, datetime

import msgspec

from schemas.api.runtime import CandidateRow, SlotRow
from tests.cli.fake_gateway import FakeGateway
from tests.cli.support import CommandLine


def test_status_tells_what_runs_and_who_asks(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("status")

    assert outcome.code == 0
    lines = {line.partition(":")[0]: line for line in outcome.out.splitlines()}
    assert lines["Server"].split() == ["Server:", gateway.url, "mllm", "0.1.0"]
    assert lines["State"].endswith("ready")
    assert "token/t1 in namespace default, may admin" in lines["You"]
    assert lines["nats"].endswith("ok")
    assert lines["Jobs"].endswith("1 running")
    assert lines["Weights"].endswith("1, 100.0 MiB")
    assert lines["Read models"].endswith("weights 2 behind")
    assert lines["Serving"].endswith("nothing")


def test_status_tells_what_serves(gateway: FakeGateway, mllm: CommandLine) -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    new = CandidateRow("A", "new", 7, "new", "default", "b", "blue-green", "me", now)
    gateway.slots += [
        SlotRow("default", "first", "activating", 9, now, "llama", 7, candidate=new),
        SlotRow("default", "second", "failed", 9, now),
        SlotRow("default", "third", "activating", 9, now, candidate=new),
    ]

    assert mllm("status").out.splitlines()[-1].split(maxsplit=1)[1] == (
        "llama in first, where new is coming up; second failed; third: new is coming up"
    )


def test_a_part_that_is_down_fails_the_status(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.ready = False
    gateway.refuse("/system/summary", "read_models_unavailable", 503)

    outcome = mllm("status")

    assert outcome.code == 1
    assert "not ready" in outcome.out
    assert "fail  down" in outcome.out


def test_status_is_data_as_well(gateway: FakeGateway, mllm: CommandLine) -> None:
    told = msgspec.json.decode(mllm("status", "-o", "json").out)

    assert told["info"]["epoch"] == "epoch-1"
    assert told["readiness"]["ok"] is True


def test_something_else_at_the_address_is_not_taken_for_mllm(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.refuse("/readyz", "", 502)

    outcome = mllm("status")

    assert outcome.code == 9
    assert "not like mllm" in outcome.err
