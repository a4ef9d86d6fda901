from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from schemas.api.jobs import JobRow
from schemas.plan import Plan
from tests.cli.fake_gateway import JOB, NOW, PLAN, FakeGateway, job_row, weights_row
from tests.cli.support import CommandLine


def test_installing_prints_the_job_and_how_to_watch_it(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    outcome = mllm("weights", "install", "org/model")

    assert outcome.code == 0
    assert outcome.out.splitlines()[1].split()[:4] == [JOB, "install", "org/model", "pending"]
    assert outcome.err == f"watch it: mllm jobs watch {JOB}\n"


def test_a_script_gets_the_id_and_nothing_else(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("weights", "install", "org/model", "-q")

    assert (outcome.out, outcome.err) == (f"{JOB}\n", "")


def test_every_wish_is_in_the_request(gateway: FakeGateway, mllm: CommandLine) -> None:
    mllm(
        "weights", "install", "org/model", "--revision", "v2", "--target", "mine",
        "--include", "*.json", "--include", "*.safetensors", "--exclude", "*.bin", "--overwrite",
        "--priority", "low", "--token-secret", "hub", "--store", "fast",
    )  # fmt: skip

    assert msgspec.json.decode(gateway.last("POST").body) == {
        "hfModelId": "org/model",
        "revision": "v2",
        "target": "mine",
        "include": ["*.json", "*.safetensors"],
        "exclude": ["*.bin"],
        "overwrite": True,
        "priority": 2,
        "tokenSecret": "hub",
        "store": "fast",
    }


@pytest.mark.parametrize(
    ("arguments", "named", "remedy"),
    [
        (("../x",), "MODEL", "org/name"),
        (("org/name/more",), "MODEL", "org/name"),
        (("org/model", "--target", "../up"), "--target", "org/name"),
        (("org/model", "--target", "/abs"), "--target", "org/name"),
        (("org/model", "--revision", "a b"), "--revision", "a tag or a commit"),
        (("org/model", "--token-secret", "No Such"), "--token-secret", "mllm secrets list"),
        (("org/model", "--store", "A"), "--store", "lower-case"),
        (("org/model", "--include", ""), "--include", "*.safetensors"),
    ],
)
def test_a_name_that_can_not_be_one_is_misuse_and_is_not_sent(
    gateway: FakeGateway, mllm: CommandLine, arguments: tuple[str, ...], named: str, remedy: str
) -> None:
    outcome = mllm("weights", "install", *arguments)

    assert outcome.code == 2
    assert outcome.err.startswith(f"error: {named} is malformed")
    assert remedy in outcome.err.splitlines()[1]
    assert gateway.seen == []


def test_what_is_installed_already_is_said(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.put(job_row(status="completed", finished_at=NOW))

    outcome = mllm("weights", "install", "org/model", "--watch")

    assert outcome.code == 0
    assert "org/model holds this content already" in outcome.err
    assert "completed" in outcome.out


def test_a_dry_run_is_the_plan(gateway: FakeGateway, mllm: CommandLine) -> None:
    dry = mllm("weights", "install", "org/model", "--dry-run")
    plan = mllm("weights", "plan", "org/model")

    assert dry.out == plan.out
    assert "To bring:  100.0 MiB in 2 files" in plan.out
    assert "3.0 GiB free, 2.9 GiB after it; 2.0 GiB stay free" in plan.out
    assert "pytorch_model.bin   safetensors hold the same" in plan.out
    assert {seen.path for seen in gateway.seen} == {"/weights/plan"}


def test_a_plan_is_data_as_well(gateway: FakeGateway, mllm: CommandLine) -> None:
    out = mllm("weights", "plan", "org/model", "-o", "json").out

    assert msgspec.json.decode(out, type=Plan) == PLAN


def test_weights_are_listed_in_columns(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.weights = {"org/model": weights_row(), "b": weights_row("b", status="corrupted")}

    titles, first, second = mllm("weights", "list").out.splitlines()

    assert titles.split() == ["NAME", "STATUS", "SIZE", "FILES", "REVISION", "AGE"]
    assert first.split()[:5] == ["org/model", "installed", "100.0", "MiB", "2"]
    assert second.split()[:2] == ["b", "corrupted"]


def test_weights_have_names_for_scripts(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.weights = {"org/model": weights_row()}

    assert mllm("weights", "list", "-o", "name").out == "weights/org/model\n"
    assert mllm("weights", "list", "-q").out == "org/model\n"


def test_the_details_tell_where_they_are_and_which_files(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.weights = {"org/model": weights_row()}

    out = mllm("weights", "info", "org/model").out

    assert "Storage URI:  pvc://default/default/org/model" in out
    assert f"sha256:{'b' * 64}" in out
    assert gateway.last().query == {"name": ["org/model"]}


def test_weights_are_said_to_be_hashed_at_their_install_or_verified_since(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.weights["org/model"] = weights_row()
    once = mllm("weights", "info", "org/model").out
    listed = mllm("weights", "list", "-o", "wide").out
    gateway.weights["org/model"] = weights_row(verified_at=datetime.now(UTC) - timedelta(hours=3))
    again = mllm("weights", "info", "org/model").out

    assert "Verified:     every file as it was installed, and not since" in once
    assert "at install" in listed
    assert "Verified:     3h ago" in again


def test_weights_that_are_not_there_are_not_found(gateway: FakeGateway, mllm: CommandLine) -> None:
    assert mllm("weights", "info", "org/none").code == 3


@pytest.mark.parametrize(
    ("argv", "method", "path"),
    [
        (("verify", "org/model"), "POST", "/weights/verify"),
        (("delete", "org/model", "--yes"), "DELETE", "/weights"),
    ],
)
def test_verifying_and_deleting_are_jobs(
    gateway: FakeGateway, mllm: CommandLine, argv: tuple[str, ...], method: str, path: str
) -> None:
    out = mllm("weights", *argv, "-o", "json").out

    assert msgspec.json.decode(out, type=JobRow).type == argv[0]
    assert gateway.last().method == method
    assert gateway.last().path == path


def test_deleting_is_not_done_unasked_where_nobody_is_there(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    outcome = mllm("weights", "delete", "org/model")

    assert outcome.code == 2
    assert "delete the weights org/model in namespace default" in outcome.err
    assert "use --yes" in outcome.err
    assert gateway.seen == []


def test_the_room_they_take_is_shown(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.weights = {"org/model": weights_row(references=("slot/a",))}

    out = mllm("weights", "usage").out

    assert "default   1         100.0 MiB   3.0 GiB   10.0 GiB   2.0 GiB" in out
    assert "org/model   default   100.0 MiB   slot/a" in out


@pytest.mark.parametrize(
    ("code", "status", "exit"),
    [
        ("not_found", 404, 3),
        ("gated", 403, 4),
        ("conflict", 409, 5),
        ("no_space", 507, 7),
        ("hub_unreachable", 503, 1),
        ("nothing_to_install", 422, 1),
    ],
)
def test_a_refused_install_exits_by_its_code(
    gateway: FakeGateway, mllm: CommandLine, code: str, status: int, exit: int
) -> None:
    gateway.refuse("/weights/install", code, status, detail="why", remedy="do this")

    outcome = mllm("weights", "install", "org/model", "--watch")

    assert outcome.code == exit
    assert outcome.err == "error: why\nremedy: do this\nrequest id: request-9\n"
