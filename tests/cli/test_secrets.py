import subprocess
import sys

import pytest

from tests.cli.fake_gateway import FakeGateway
from tests.cli.support import CommandLine


def told(*argv: str, stdin: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a program that is written to."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *argv], input=stdin, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("stdin", "value"), [("hf_abc\n", "hf_abc"), ("hf_abc", "hf_abc"), ("a\nb\n", "a\nb")]
)
def test_a_secret_is_what_stdin_says(gateway: FakeGateway, stdin: str, value: str) -> None:
    outcome = told("secrets", "set", "hub", stdin=stdin)

    assert (outcome.returncode, outcome.stdout) == (0, "")
    assert outcome.stderr == "secret hub is set\n"
    assert gateway.secrets == {"hub": value}


def test_an_empty_secret_is_misuse(gateway: FakeGateway) -> None:
    outcome = told("secrets", "set", "hub", stdin="\n")

    assert outcome.returncode == 2
    assert gateway.secrets == {}


def test_a_value_on_the_command_line_is_refused(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("secrets", "set", "hub", "hf_abc")

    assert outcome.code == 2
    assert gateway.seen == []


def test_only_names_are_listed(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.secrets = {"hub": "s3cret", "mirror": "s3cret"}

    outcome = mllm("secrets", "list", "-o", "json")

    assert "s3cret" not in outcome.out
    assert mllm("secrets", "list", "-q").out == "hub\nmirror\n"


def test_a_secret_is_deleted_once(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.secrets = {"hub": "s3cret"}

    first = mllm("secrets", "delete", "hub", "--yes")
    second = mllm("secrets", "delete", "hub", "--yes")

    assert (first.code, first.err) == (0, "secret hub is deleted\n")
    assert second.code == 3


def test_deleting_is_not_done_unasked_where_nobody_is_there(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    assert mllm("secrets", "delete", "hub").code == 2
    assert gateway.seen == []
