import msgspec

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
