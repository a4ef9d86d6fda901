import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli import main
from cli.exits import CODES, Exit, of_code, of_job
from cli.version import VERSION
from tests.cli.fake_gateway import JOB, FakeGateway, job_row
from tests.cli.support import CommandLine


@pytest.mark.parametrize(
    ("argv", "remedy"),
    [
        (("jobs", "lst"), "did you mean 'list'?"),
        (("job", "list"), "did you mean 'jobs'?"),
        (("jobs", "list", "--limt", "3"), "did you mean '--limit'?"),
        (("jobs", "list", "--sever", "x"), "did you mean '--server'?"),
        (("weights", "instal", "org/m"), "did you mean 'install'?"),
        (("jobs", "list", "--zzzzzz"), "see `mllm jobs list --help`"),
        (("jobs", "get"), "see `mllm jobs get --help`"),
        (("jobs", "priority", JOB, "urgent"), "see `mllm jobs priority --help`"),
        (("jobs", "list", "--status", "done"), "see `mllm jobs list --help`"),
        (("jobs", "list", "extra"), "see `mllm jobs list --help`"),
        (("jobs", "list", "-o", "xml"), "use table, wide, json, yaml, name or jsonpath=…"),
        (("jobs", "list", "-o", "jsonpath="), "write it like jsonpath='{.items[*].id}'"),
        (("jobs", "list", "--progress", "loud"), "see `mllm --help`"),
        (("tokens", "list", "--watch"), "leave out --watch"),
        (("tokens", "list", "--limit", "-1"), "0 is for all"),
        (("jobs", "list", "--as-of", "seq:1", "--watch"), "leave out --watch or --as-of"),
        (("jobs", "retry", JOB, "--timeout", "9s"), "add --wait or --watch"),
        (("runtime", "scale", "1", "--timeout", "9s"), "add --wait or --watch"),
        (("migrate", "--replicas", "0"), "see `mllm migrate --help`"),
        (("migrate", "--replicas", "6"), "see `mllm migrate --help`"),
        (
            ("migrate", "--store", "A B"),
            "use lower-case letters, digits and dashes",
        ),
        (("migrate", "--store", ""), "use lower-case letters, digits and dashes"),
    ],
)
def test_misuse_exits_with_2_and_says_what_is_nearest(
    gateway: FakeGateway, mllm: CommandLine, argv: tuple[str, ...], remedy: str
) -> None:
    outcome = mllm(*argv)

    assert outcome.code == 2
    assert outcome.out == ""
    cause, told = outcome.err.splitlines()
    assert cause.startswith("error: ")
    assert told == f"remedy: {remedy}"
    assert gateway.seen == []


def test_what_is_no_option_is_not_offered_as_one(mllm: CommandLine) -> None:
    outcome = mllm("jobs", "list", "--sesion", "x")

    assert outcome.code == 2
    assert "--session" not in outcome.err


def test_a_verb_that_nothing_is_near_to_gets_the_list(mllm: CommandLine) -> None:
    outcome = mllm("qqqq")

    assert outcome.code == 2
    assert "weights, jobs, models, runtime" in outcome.err


@pytest.mark.parametrize("argv", [(), ("--help",), ("jobs",), ("jobs", "list", "--help"), ("-h",)])
def test_help_is_there_at_every_level(mllm: CommandLine, argv: tuple[str, ...]) -> None:
    outcome = mllm(*argv)

    assert outcome.code == 0
    assert "Usage: mllm" in outcome.out
    assert "--namespace" in outcome.out


def test_options_may_stand_before_the_verb_and_after_it(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.put(job_row())

    before = mllm("-o", "name", "-n", "team", "jobs", "list", "--limit", "1")
    after = mllm("jobs", "list", "--limit", "1", "-n", "team", "-o", "name")

    assert before == after
    assert before.out == f"job/{JOB}\n"


def test_every_problem_has_one_exit_code_and_every_job_another() -> None:
    assert {of_code(code, Exit.FAILED) for code in CODES} == {*range(3, 9), 11}
    assert of_code("forbidden_scope", Exit.FAILED) == 4
    assert of_code("whatever", Exit.FAILED) == 1
    assert of_job("completed", "") == 0
    assert of_job("cancelled", "") == 11
    assert of_job("failed", "not_allowed") == 4
    assert of_job("failed", "whatever") == 10


def test_the_version_is_that_of_the_project(mllm: CommandLine) -> None:
    project = (Path(main.__file__).parent.parent / "pyproject.toml").read_text()

    assert re.search(r'^version = "(.*)"$', project, re.MULTILINE)[1] == VERSION  # type: ignore[index]
    assert mllm("version").out == f"mllm {VERSION}\n"
    assert mllm("version", "-o", "jsonpath={.version}").out == f"{VERSION}\n"


def test_a_mistake_of_ours_is_one_line(
    home: Path, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_SERVER", "http://127.0.0.1:99999")  # no port, and nobody checks that

    outcome = mllm("jobs", "list")

    assert outcome.code in (1, 2)
    assert "Traceback" not in outcome.err


def test_a_broken_pipe_is_no_traceback(gateway: FakeGateway) -> None:
    for number in range(2000):
        gateway.put(job_row(f"{number:026}"))

    shell = f"{sys.executable} -m cli jobs list --limit 0 | head -1"
    outcome = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)

    assert outcome.stdout.startswith("JOB")
    assert outcome.stderr == ""


@pytest.mark.parametrize(
    ("where", "cause"),
    [
        ("> /dev/full", "the output can not be written: No space left on device"),
        (">&-", "stdout is closed"),
    ],
)
@pytest.mark.parametrize("jobs", [1, 2000])
def test_a_stdout_that_takes_nothing_is_a_failure(
    gateway: FakeGateway, where: str, cause: str, jobs: int
) -> None:
    for number in range(jobs):
        gateway.put(job_row(f"{number:026}"))

    shell = f"{sys.executable} -m cli jobs list --limit 0 {where}"
    outcome = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)

    assert outcome.returncode == 1
    assert outcome.stderr.splitlines()[0] == f"error: {cause}"
    assert len(outcome.stderr.splitlines()) == 2


def test_colours_are_for_terminals_only(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.put(job_row(status="failed"))

    assert "\x1b" not in mllm("jobs", "list").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_learn_our_verbs(mllm: CommandLine, shell: str) -> None:
    outcome = mllm("completion", shell)

    assert outcome.code == 0
    assert "mllm" in outcome.out


def test_it_runs_from_any_directory(gateway: FakeGateway, tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "mllm"

    outcome = subprocess.run(
        [str(script), "version"], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ)
    )

    assert outcome.stdout == f"mllm {VERSION}\n"


def test_a_terminal_without_unicode_is_no_error(gateway: FakeGateway) -> None:
    gateway.put(job_row(target="m-\N{GREEK SMALL LETTER ALPHA}"))

    outcome = subprocess.run(
        [sys.executable, "-m", "cli", "jobs", "list"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )

    assert outcome.returncode == 0, outcome.stderr
    assert "m-?" in outcome.stdout
