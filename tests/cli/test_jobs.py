import msgspec
import pytest

from schemas.api.jobs import JobRow
from schemas.job import JobCompleted, JobStarted
from schemas.live import LogLine
from tests.cli.fake_gateway import JOB, MIB, NOW, FakeGateway, job_row
from tests.cli.support import CommandLine, meanwhile

OTHER = "01JD2222222222222222222222"


@pytest.fixture
def job(gateway: FakeGateway) -> JobRow:
    return gateway.put(job_row(status="running", phase="fetch", attempt=1, bytes_done=30 * MIB))


def test_jobs_are_listed_in_columns(gateway: FakeGateway, job: JobRow, mllm: CommandLine) -> None:
    gateway.put(job_row(OTHER, status="failed", code="gated", target="org/other"))

    outcome = mllm("jobs", "list")

    assert outcome.code == 0
    titles, first, second = outcome.out.splitlines()
    assert titles.split() == ["JOB", "TYPE", "TARGET", "STATUS", "DONE", "AGE"]
    assert first.split()[:5] == [JOB, "install", "org/model", "running", "30%"]
    assert second.split()[:5] == [OTHER, "install", "org/other", "failed", "0%"]


def test_a_wide_list_tells_more(job: JobRow, mllm: CommandLine) -> None:
    titles = mllm("jobs", "list", "-o", "wide").out.splitlines()[0]

    assert {"PHASE", "MODEL", "PRIORITY", "ATTEMPT", "WORKER", "CODE", "BY"} <= set(titles.split())


def test_a_list_comes_in_every_form(job: JobRow, mllm: CommandLine) -> None:
    assert mllm("jobs", "list", "-o", "name").out == f"job/{JOB}\n"
    assert mllm("jobs", "list", "-q").out == f"{JOB}\n"
    assert mllm("-o", "jsonpath={.items[*].id}", "jobs", "list").out == f"{JOB}\n"
    assert msgspec.json.decode(mllm("jobs", "list", "-o", "json").out)["items"][0]["id"] == JOB
    assert f"id: {JOB}" in mllm("jobs", "list", "-o", "yaml").out


def test_what_json_says_is_what_the_server_said(job: JobRow, mllm: CommandLine) -> None:
    out = mllm("jobs", "get", JOB, "-o", "json").out

    assert msgspec.json.decode(out, type=JobRow) == job


def test_an_empty_list_says_so_beside_the_data(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("jobs", "list")

    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "no job in namespace default\n"


def test_a_list_that_is_cut_short_says_so(gateway: FakeGateway, mllm: CommandLine) -> None:
    for number in range(3):
        gateway.put(job_row(f"{number:026}"))

    outcome = mllm("jobs", "list", "--limit", "2")

    assert len(outcome.out.splitlines()) == 3
    assert "--limit 0" in outcome.err


def test_a_list_is_narrowed_down_by_the_server(
    job: JobRow, mllm: CommandLine, gateway: FakeGateway
) -> None:
    mllm("jobs", "list", "--status", "failed", "--status", "running", "--model", "org/model",
         "--as-of", "seq:4711")  # fmt: skip

    query = gateway.last("GET", "/jobs").query
    assert query["status"] == ["failed", "running"]
    assert (query["model"], query["as_of"]) == (["org/model"], ["seq:4711"])


def test_every_namespace_is_listed_with_its_name(
    gateway: FakeGateway, job: JobRow, mllm: CommandLine
) -> None:
    outcome = mllm("jobs", "list", "-A")

    assert outcome.out.split()[0] == "NAMESPACE"
    assert gateway.last("GET", "/jobs").headers["x-mllm-namespace"] == "*"


def test_the_namespace_is_an_option_of_every_verb(
    gateway: FakeGateway, job: JobRow, mllm: CommandLine
) -> None:
    mllm("-n", "team", "jobs", "list")
    mllm("jobs", "get", JOB, "--namespace", "team-b")

    assert [seen.headers["x-mllm-namespace"] for seen in gateway.seen] == ["team", "team-b"]


def test_several_jobs_are_got_as_a_list(
    gateway: FakeGateway, job: JobRow, mllm: CommandLine
) -> None:
    gateway.put(job_row(OTHER))

    outcome = mllm("jobs", "get", f"job/{JOB}", OTHER, "-o", "jsonpath={.items[*].id}")

    assert outcome.out == f"{JOB} {OTHER}\n"


def test_a_job_that_is_not_there_is_not_found(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("jobs", "get", OTHER)

    assert outcome.code == 3
    assert outcome.out == ""
    assert outcome.err == (
        f"error: no job {OTHER}\n"
        "remedy: list what there is, and check --namespace\n"
        "request id: request-9\n"
    )


def test_a_description_tells_the_job_its_files_and_its_events(
    gateway: FakeGateway, job: JobRow, mllm: CommandLine
) -> None:
    gateway.happen(JobStarted(job=JOB, attempt=1, worker="w1"))

    out = mllm("jobs", "describe", JOB).out

    assert "Status:       running" in out
    assert "Bytes:        30.0 MiB of 100.0 MiB (30%)" in out
    assert "model.safetensors" in out
    assert "job.started" in out
    assert "attempt=1 worker=w1" in out


def test_a_description_is_data_as_well(job: JobRow, mllm: CommandLine) -> None:
    told = msgspec.json.decode(mllm("jobs", "describe", JOB, "-o", "json").out)

    assert set(told) == {"job", "files", "events"}


@pytest.mark.parametrize("arguments", [(), ("-f",)])
def test_logs_are_printed_line_by_line(
    gateway: FakeGateway, job: JobRow, mllm: CommandLine, arguments: tuple[str, ...]
) -> None:
    gateway.put(job_row(status="completed", finished_at=NOW))
    gateway.lines = [
        LogLine(JOB, NOW, "info", "resolved main", 1),
        LogLine(JOB, NOW, "warning", "429, waiting 3 s", 2),
    ]

    outcome = mllm("jobs", "logs", JOB, *arguments)

    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[1].split(None, 3) == ["2026-11-01", "12:00:00", "info", "resolved main"]
    assert lines[2].endswith("429, waiting 3 s")


def test_logs_are_json_lines_for_programs(
    gateway: FakeGateway, job: JobRow, mllm: CommandLine
) -> None:
    gateway.put(job_row(status="completed", finished_at=NOW))
    gateway.lines = [LogLine(JOB, NOW, "info", "one", 1), LogLine(JOB, NOW, "info", "two", 2)]

    out = mllm("jobs", "logs", JOB, "-f", "-o", "json").out

    assert [msgspec.json.decode(line)["text"] for line in out.splitlines()] == ["one", "two"]


@pytest.mark.parametrize(
    ("argv", "path", "body"),
    [
        (("cancel", JOB, "--yes"), "cancel", {"keepPartial": False}),
        (("cancel", JOB, "--yes", "--keep-partial"), "cancel", {"keepPartial": True}),
        (("retry", JOB), "retry", {"clean": False}),
        (("retry", JOB, "--clean"), "retry", {"clean": True}),
        (("pause", JOB), "pause", None),
        (("resume", JOB), "resume", None),
        (("priority", JOB, "high"), "priority", {"priority": 0}),
        (("priority", JOB, "2"), "priority", {"priority": 2}),
    ],
)
def test_a_job_is_steered_by_one_request(
    gateway: FakeGateway,
    job: JobRow,
    mllm: CommandLine,
    argv: tuple[str, ...],
    path: str,
    body: object,
) -> None:
    outcome = mllm("jobs", *argv)

    assert outcome.code == 0
    assert JOB in outcome.out
    seen = gateway.last("POST")
    assert seen.path == f"/jobs/{JOB}/{path}"
    assert (msgspec.json.decode(seen.body) if seen.body else None) == body


def test_cancelling_is_not_done_unasked_where_nobody_is_there(
    gateway: FakeGateway, job: JobRow, mllm: CommandLine
) -> None:
    outcome = mllm("jobs", "cancel", JOB)

    assert outcome.code == 2
    assert "use --yes" in outcome.err
    assert gateway.seen == []


def test_a_conflict_is_one(gateway: FakeGateway, job: JobRow, mllm: CommandLine) -> None:
    gateway.refuse(f"/jobs/{JOB}/pause", "conflict", 409, detail="job is completed")

    assert mllm("jobs", "pause", JOB).code == 5


def test_a_watched_list_goes_on_with_what_changes(
    gateway: FakeGateway, job: JobRow, mllm: CommandLine
) -> None:
    def tell() -> None:
        gateway.subscribed()
        gateway.refuse(f"/jobs/{JOB}", "read_model_behind", 503)
        done = JobCompleted(job=JOB, attempt=1, bytes=1, files=1)
        gateway.happen(done, status="completed", finished_at=NOW)
        gateway.asked(4)
        del gateway.refusals[f"/jobs/{JOB}"]
        gateway.asked(5)
        gateway.refuse("/events", "token_revoked", 401, detail="this token was revoked")
        gateway.cut()

    with meanwhile(tell):
        outcome = mllm("jobs", "list", "--watch", "-o", "wide")

    assert outcome.code == 4
    assert [line.split()[3] for line in outcome.out.splitlines()] == [
        "STATUS",
        "running",
        "completed",
    ]
    seen = gateway.last("GET", f"/jobs/{JOB}")
    assert seen.query["min_sequence"] == ["2"]
