import msgspec
import pytest

from schemas.job import JobPaused, JobResumed, JobStarted
from schemas.live import Tick
from schemas.names import weights_id
from tests.cli.fake_gateway import JOB, NOW, FakeGateway, job_row
from tests.cli.support import CommandLine, meanwhile


@pytest.fixture
def history(gateway: FakeGateway) -> FakeGateway:
    gateway.put(job_row())
    gateway.happen(JobStarted(job=JOB, attempt=1, worker="w1"))
    gateway.happen(JobPaused(job=JOB))
    gateway.happen(JobResumed(job=JOB))
    return gateway


def types(out: str) -> list[str]:
    return [line.split()[3] for line in out.splitlines()[1:]]


def test_the_newest_events_are_listed_in_the_order_they_happened(
    history: FakeGateway, mllm: CommandLine
) -> None:
    outcome = mllm("events", "list", "--limit", "2")

    assert types(outcome.out) == ["job.paused", "job.resumed"]
    assert "--limit 0" in outcome.err
    assert history.last().query["order"] == ["desc"]


def test_events_past_a_position_are_listed_from_there(
    history: FakeGateway, mllm: CommandLine
) -> None:
    outcome = mllm("events", "list", "--after", "0", "--limit", "2")

    assert types(outcome.out) == ["job.started", "job.paused"]
    assert history.last().query["after"] == ["0"]


@pytest.mark.parametrize(
    ("argv", "query"),
    [
        ((f"job/{JOB}",), {"aggregate": ["job"], "id": [JOB]}),
        (("weights/org/m",), {"aggregate": ["weights"], "id": ["org/m"]}),
        (
            ("--aggregate", "weights", "--id", "m"),
            {"aggregate": ["weights"], "id": ["m"]},
        ),
        (("--type", "job.*,weights.installed"), {"type": ["job.*,weights.installed"]}),
        (("--correlation", "r1"), {"correlation": ["r1"]}),
        (("--before-time", "2026-11-01T12:00:00Z"), {"before_time": ["2026-11-01T12:00:00Z"]}),
    ],
)
def test_events_are_chosen_by_the_server(
    history: FakeGateway, mllm: CommandLine, argv: tuple[str, ...], query: dict[str, list[str]]
) -> None:
    mllm("events", "list", *argv)

    sent = history.last("GET", "/events/log").query
    assert {name: sent[name] for name in query} == query


def test_an_event_says_what_it_says_when_there_is_room(
    history: FakeGateway, mllm: CommandLine
) -> None:
    out = mllm("events", "list", "-o", "wide").out

    assert "attempt=1 worker=w1" in out


def test_weights_are_called_by_their_name(gateway: FakeGateway, mllm: CommandLine) -> None:
    row = msgspec.json.encode({"type": "weights.deleted", "v": 1, "target": "org/m", "job": JOB})
    gateway.put(job_row())
    gateway.happen(JobPaused(job=JOB))
    gateway.events[0] = msgspec.structs.replace(
        gateway.events[0], subject=f"weights/{weights_id('org/m')}", data=msgspec.Raw(row)
    )

    assert "weights/org/m" in mllm("events", "list").out


def test_events_are_data_as_well(history: FakeGateway, mllm: CommandLine) -> None:
    out = mllm("events", "list", "-o", "json").out

    [started, *_] = msgspec.json.decode(out)["items"]
    assert started["data"]["worker"] == "w1"
    assert "worker: w1" in mllm("events", "list", "-o", "yaml").out


def test_a_tail_goes_on_and_leaves_live_counts_out(history: FakeGateway, mllm: CommandLine) -> None:
    def tell() -> None:
        history.subscribed()
        history.tick(Tick(JOB, "default", 1, "w1", NOW))
        history.happen(JobPaused(job=JOB))
        history.refuse("/events", "token_revoked", 401, detail="revoked")
        history.cut()

    with meanwhile(tell):
        outcome = mllm("events", "tail", f"job/{JOB}", "-o", "json", "--tail", "3")

    assert outcome.code == 4
    [line] = outcome.out.splitlines()
    assert msgspec.json.decode(line)["type"] == "job.paused"
    first = history.seen[0]
    assert first.query == {"aggregate": ["job"], "id": [JOB], "tail": ["3"]}


def test_a_tail_says_that_the_log_is_not_that_long(history: FakeGateway, mllm: CommandLine) -> None:
    def tell() -> None:
        history.subscribed()
        history.reset(7)
        history.refuse("/events", "token_revoked", 401)
        history.cut()

    with meanwhile(tell):
        outcome = mllm("events", "tail", "--after", "999999")

    assert "there is no position 999999 in this log; it goes on from 7" in outcome.err


@pytest.mark.parametrize(
    "argv", [("foo",), ("foo/1",), ("job/",), ("--aggregate", "bogus"), ("--id", "1")]
)
def test_events_about_nothing_that_is_are_misuse(
    history: FakeGateway, mllm: CommandLine, argv: tuple[str, ...]
) -> None:
    assert mllm("events", "list", *argv).code == 2
    assert history.seen == []


def test_a_tail_takes_up_where_it_is_told_to(history: FakeGateway, mllm: CommandLine) -> None:
    def tell() -> None:
        history.subscribed()
        history.refuse("/events", "token_revoked", 401)
        history.cut()

    with meanwhile(tell):
        outcome = mllm("events", "tail", "--after", "3.0")

    assert types(outcome.out) == ["job.resumed"]
