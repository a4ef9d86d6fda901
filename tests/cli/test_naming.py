"""What `-o name` prints is what verbs take."""

import pytest

from schemas.live import LogLine
from tests.cli.fake_gateway import JOB, NOW, FakeGateway, job_row, weights_row
from tests.cli.support import CommandLine


@pytest.fixture
def held(gateway: FakeGateway) -> FakeGateway:
    gateway.put(job_row())
    gateway.weights = {"org/model": weights_row()}
    gateway.secrets = {"hub": "value"}
    return gateway


@pytest.mark.parametrize(
    "verb",
    [
        "jobs get job/" + JOB,
        "weights info weights/org/model",
        "weights verify weights/org/model",
        "weights delete weights/org/model --yes",
        "secrets delete secret/hub --yes",
        "projections rebuild projection/jobs",
    ],
)
def test_a_name_may_carry_its_kind(held: FakeGateway, mllm: CommandLine, verb: str) -> None:
    outcome = mllm(*verb.split())

    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("models get model/m", "/models/m"),
        ("models describe model/m", "/models/m"),
        ("models history model/m", "/models/m/history"),
        ("models delete model/m --yes", "/models/m"),
        ("models alias model/m a", "/models/m/aliases/a"),
        ("runtime status slot/s", "/runtime"),
        ("recommend gpu gpu/l4", "/recommendations/l4"),
    ],
)
def test_a_name_is_sent_without_its_kind(
    held: FakeGateway, mllm: CommandLine, verb: str, path: str
) -> None:
    mllm(*verb.split())

    seen = held.seen[0]
    assert seen.path == path
    assert seen.query.get("slot", ["s"]) == ["s"]


@pytest.mark.parametrize(
    ("verb", "kind", "name"),
    [
        ("weights info org/model", "weights", "org/model"),
        ("weights plan org/model", "weights", "org/model"),
        ("weights usage", "store", "default"),
        ("jobs describe " + JOB, "job", JOB),
    ],
)
def test_what_is_told_at_length_has_a_name_as_well(
    held: FakeGateway, mllm: CommandLine, verb: str, kind: str, name: str
) -> None:
    assert mllm(*verb.split(), "-o", "name").out == f"{kind}/{name}\n"
    assert mllm(*verb.split(), "-q").out == f"{name}\n"


def test_the_status_is_named_by_its_server(gateway: FakeGateway, mllm: CommandLine) -> None:
    assert mllm("status", "-o", "name").out == f"server/{gateway.url}\n"


def test_a_logs_lines_are_their_text_when_nothing_else_is_wanted(
    held: FakeGateway, mllm: CommandLine
) -> None:
    held.lines = [LogLine(JOB, NOW, "info", "resolved main", 1)]

    assert mllm("jobs", "logs", JOB, "-q").out == "resolved main\n"


@pytest.mark.parametrize("verb", ["jobs get weights/x", "models get job/x", "runtime status a/b"])
def test_a_name_of_another_kind_is_misuse(held: FakeGateway, mllm: CommandLine, verb: str) -> None:
    outcome = mllm(*verb.split())

    assert outcome.code == 2
    assert held.seen == []
