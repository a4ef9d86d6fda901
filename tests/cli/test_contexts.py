import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from cli.config import Config, Context, config_path, read, write, write_context
from tests.cli.fake_gateway import TOKEN, FakeGateway, job_row
from tests.cli.support import CommandLine


@pytest.fixture
def path(home: Path) -> Path:
    return config_path({"HOME": str(home)})


def test_a_context_is_made_used_and_named(path: Path, mllm: CommandLine) -> None:
    assert mllm("config", "set-context", "a", "--server", "http://a:1/", "-n", "team").code == 0
    assert mllm("config", "set-context", "b", "--server", "https://b").code == 0
    assert mllm("config", "current-context").out == "a\n"

    assert mllm("config", "use-context", "b").code == 0

    assert mllm("config", "current-context").out == "b\n"
    assert read(path).contexts["a"] == Context("http://a:1", "", "team")


def test_what_is_not_said_stays(path: Path, mllm: CommandLine) -> None:
    write(path, Config("a", {"a": Context("http://a", "mllm_a_b", "team")}))

    mllm("config", "set-context", "a", "-n", "other")

    assert read(path).contexts["a"] == Context("http://a", "mllm_a_b", "other")


def test_a_new_context_needs_a_server(path: Path, mllm: CommandLine) -> None:
    assert mllm("config", "set-context", "a").code == 2


@pytest.mark.parametrize("server", ["a:1", "ftp://a", "http://", "http://u:p@a", "http://a:x"])
def test_a_server_has_an_address(path: Path, mllm: CommandLine, server: str) -> None:
    outcome = mllm("config", "set-context", "a", "--server", server)

    assert outcome.code == 2
    assert "malformed" in outcome.err
    assert "u:p" not in outcome.err


@pytest.mark.parametrize(("flag", "value"), [("-n", "BAD"), ("--token", "two words")])
def test_a_context_holds_nothing_that_can_not_be_used(
    path: Path, mllm: CommandLine, flag: str, value: str
) -> None:
    outcome = mllm("config", "set-context", "a", "--server", "http://a", flag, value)

    assert outcome.code == 2
    assert not path.exists()


def test_a_context_that_is_not_there_can_not_be_used(path: Path, mllm: CommandLine) -> None:
    assert mllm("config", "use-context", "nope").code == 2
    outcome = mllm("jobs", "list", "--context", "nope")
    assert outcome.code == 2
    assert "there is no context 'nope'" in outcome.err


def test_no_current_context_is_a_failure(home: Path, mllm: CommandLine) -> None:
    assert mllm("config", "current-context").code == 1


@pytest.mark.parametrize("form", ["table", "json", "yaml", "jsonpath={.contexts}"])
def test_tokens_are_shown_only_when_asked_for(path: Path, mllm: CommandLine, form: str) -> None:
    secrets: dict[str, str | int | float | bool] = {
        "hf_token": "s3cret",
        "database_url": "postgresql://u:s3cret@h/d",
        "slots": 3,
    }
    write(path, Config("a", {"a": Context("http://a", "mllm_t_s3cret")}, secrets))

    assert "s3cret" not in mllm("config", "view", "-o", form).out
    assert "mllm_t_s3cret" in mllm("config", "view", "--raw", "-o", form).out
    assert "mllm_t_s3cret" in mllm("config", "view", "--show-secrets", "-o", form).out


def test_the_current_context_is_used(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context("local", gateway.url, TOKEN, "team")
    monkeypatch.delenv("MLLM_SERVER")
    monkeypatch.delenv("MLLM_TOKEN")

    assert mllm("jobs", "list").code == 0

    assert gateway.last().headers["x-mllm-namespace"] == "team"


def test_another_context_can_be_used_for_once(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context("here", gateway.url, TOKEN, "one")
    write_context("nowhere", "http://127.0.0.1:1", TOKEN)
    monkeypatch.delenv("MLLM_SERVER")
    monkeypatch.delenv("MLLM_TOKEN")

    assert mllm("jobs", "list").code == 9
    assert mllm("jobs", "list", "--context", "here").code == 0
    monkeypatch.setenv("MLLM_CONTEXT", "here")
    assert mllm("jobs", "list").code == 0
    assert mllm("jobs", "list", "--context", "nowhere").code == 9


def test_a_token_of_one_server_does_not_go_to_another(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context("elsewhere", "https://mllm.example", TOKEN)
    monkeypatch.delenv("MLLM_TOKEN")

    outcome = mllm("jobs", "list", "--server", gateway.url)

    assert outcome.code == 4
    assert "authorization" not in gateway.last().headers


def test_a_flag_goes_before_a_variable_before_the_context(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context("local", gateway.url, "mllm_old_old", "of-context")
    monkeypatch.setenv("MLLM_NAMESPACE", "of-variable")

    mllm("jobs", "list")
    mllm("jobs", "list", "-n", "of-flag")

    assert [seen.headers["x-mllm-namespace"] for seen in gateway.seen] == ["of-variable", "of-flag"]


@pytest.mark.parametrize(
    ("argv", "namespace"),
    [((), "of-settings"), (("--context", "elsewhere"), "of-context"), (("-n", "x"), "x")],
)
def test_settings_of_the_file_go_before_its_current_context_and_not_before_a_named_one(
    gateway: FakeGateway,
    path: Path,
    mllm: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
    namespace: str,
) -> None:
    monkeypatch.delenv("MLLM_SERVER")
    monkeypatch.delenv("MLLM_TOKEN")
    elsewhere = Context(gateway.url if "--context" in argv else "http://x", TOKEN, "of-context")
    settings = {"server": gateway.url, "token": TOKEN, "namespace": "of-settings"}
    write(path, Config("elsewhere", {"elsewhere": elsewhere}, {**settings}))

    assert mllm("jobs", "list", *argv).code == 0
    assert gateway.last().headers["x-mllm-namespace"] == namespace


def test_a_token_of_the_settings_goes_to_their_own_server_only(
    gateway: FakeGateway, path: Path, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLLM_TOKEN")
    write(path, Config(settings={"server": "https://mllm.example", "token": TOKEN}))

    assert mllm("jobs", "list").code == 4
    assert "authorization" not in gateway.last().headers


def test_a_setting_of_the_file_that_is_none_stops_every_verb(
    gateway: FakeGateway, path: Path, mllm: CommandLine
) -> None:
    write(path, Config(settings={"sever": "http://x"}))

    assert "settings.sever is not a setting" in mllm("jobs", "list").err


def test_a_file_that_others_can_read_is_warned_about(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_context("local", gateway.url, TOKEN)
    path.chmod(0o644)
    monkeypatch.delenv("MLLM_TOKEN")

    outcome = mllm("jobs", "list")

    assert outcome.code == 0
    assert f"chmod 600 {path}" in outcome.err


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "ümlaut"])
def test_a_malformed_token_is_refused_and_not_shown(
    gateway: FakeGateway, mllm: CommandLine, token: str
) -> None:
    outcome = mllm("jobs", "list", "--token", token)

    assert outcome.code == 2
    assert token not in outcome.err
    assert gateway.seen == []


def test_a_malformed_namespace_is_refused(gateway: FakeGateway, mllm: CommandLine) -> None:
    assert mllm("jobs", "list", "-n", "Not Allowed").code == 2
    assert gateway.seen == []


def test_an_unknown_variable_stops_every_verb(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_SEVER", "http://x")

    outcome = mllm("jobs", "list")

    assert outcome.code == 2
    assert outcome.err == "error: MLLM_SEVER is not a setting\nremedy: did you mean MLLM_SERVER?\n"


def login(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", "login", *argv], input=stdin, capture_output=True, text=True
    )


def test_logging_in_remembers_what_was_checked(
    gateway: FakeGateway, path: Path, monkeypatch: pytest.MonkeyPatch, mllm: CommandLine
) -> None:
    monkeypatch.delenv("MLLM_SERVER")
    monkeypatch.delenv("MLLM_TOKEN")

    outcome = login("--server", gateway.url, "-n", "team", stdin=f"{TOKEN}\n")

    assert outcome.returncode == 0
    assert TOKEN not in outcome.stdout + outcome.stderr
    config = read(path)
    assert config.current_context == "local"
    assert config.contexts["local"] == Context(gateway.url, TOKEN, "team")
    assert mllm("jobs", "list").code == 0


def test_a_login_that_is_refused_changes_nothing(
    gateway: FakeGateway, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLLM_TOKEN")

    outcome = login("--context", "mine", stdin="mllm_wrong_wrong\n")

    assert outcome.returncode == 4
    assert not path.exists()


def test_a_login_without_a_token_says_where_it_comes_from(
    gateway: FakeGateway, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLLM_TOKEN")

    assert login().returncode == 2


def test_a_context_says_what_it_is_for_a_program(path: Path, mllm: CommandLine) -> None:
    write(path, Config("a", {"a": Context("http://a")}))

    out = mllm("config", "view", "-o", "json").out

    assert msgspec.json.decode(out) == {
        "current-context": "a",
        "contexts": {"a": {"server": "http://a"}},
    }


def test_a_server_may_live_below_a_path(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.put(job_row())

    outcome = mllm("jobs", "list", "--server", f"{gateway.url}/below")

    assert outcome.code == 3
    assert gateway.last().path == "/below/jobs"
