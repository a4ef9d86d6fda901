import msgspec

from tests.cli.fake_gateway import FakeGateway
from tests.cli.support import CommandLine


def test_read_models_are_shown_with_how_far_behind_they_are(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    _, jobs, weights = mllm("projections", "status").out.splitlines()

    assert jobs.split() == ["jobs", "ok", "7", "0"]
    assert weights.split() == ["weights", "rebuilding", "5", "2"]


def test_they_are_data_as_well(gateway: FakeGateway, mllm: CommandLine) -> None:
    out = mllm("projections", "status", "-o", "json").out

    assert [item["name"] for item in msgspec.json.decode(out)["items"]] == ["jobs", "weights"]


def test_a_rebuild_is_asked_for(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("projections", "rebuild", "jobs")

    assert outcome.code == 0
    assert (gateway.last().method, gateway.last().path) == ("POST", "/projections/jobs/rebuild")


def test_a_rebuild_of_nothing_is_not_found(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.refuse("/projections/none/rebuild", "not_found", 404, detail="no read model none")

    assert mllm("projections", "rebuild", "none").code == 3
