import stat
from pathlib import Path

import pytest

from cli.config import Config, Context, config_path, exposed, read, write, write_context
from cli.failures import Misused


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mllm" / "config.yaml"


def test_it_lies_where_xdg_says() -> None:
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/mllm/config.yaml")
    assert config_path({"HOME": "/h"}) == Path("/h/.config/mllm/config.yaml")


def test_no_file_is_an_empty_configuration(path: Path) -> None:
    assert read(path) == Config()


def test_what_is_written_is_read_again(path: Path) -> None:
    config = Config("a", {"a": Context("http://x", "mllm_t_s", "team")}, {"slots": 3})

    write(path, config)

    assert read(path) == config


def test_only_the_owner_may_read_it(path: Path) -> None:
    write(path, Config())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not exposed(path)


def test_a_file_that_others_can_read_is_made_private_when_it_is_written(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    path.chmod(0o644)
    assert exposed(path)

    write(path, Config())

    assert not exposed(path)


def test_nothing_is_left_beside_it(path: Path) -> None:
    write(path, Config())
    write(path, Config("a", {"a": Context("http://x")}))

    assert [file.name for file in path.parent.iterdir()] == ["config.yaml"]


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "dotfiles.yaml")

    write(path, Config("a", {"a": Context("http://x")}))

    assert path.is_symlink()
    assert read(path).current_context == "a"


def test_yaml_written_by_hand_is_read(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("current-context: a\ncontexts:\n  a: {server: 'http://x', token: mllm_a_b}\n")

    assert read(path).contexts["a"] == Context("http://x", "mllm_a_b", "default")


@pytest.mark.parametrize(
    "text",
    [
        "current-context: [",
        "kontexts: {}",
        "contexts: {a: {sever: http://x}}",
        "contexts: {a: {server: 3}}",
        "contexts: {a: {server: http://x, namespace: Not Allowed}}",
        "- a",
    ],
)
def test_what_can_not_be_is_said_with_the_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)

    with pytest.raises(Misused) as raised:
        read(path)

    assert str(path) in raised.value.cause


def test_a_context_is_added_and_becomes_the_current_one(home: Path) -> None:
    environ = {"HOME": str(home)}
    write_context("other", "http://y", "mllm_o_o", environ=environ)

    path = write_context("local", "http://x", "mllm_t_s", "team", environ=environ)

    config = read(path)
    assert config.current_context == "local"
    assert config.contexts["local"] == Context("http://x", "mllm_t_s", "team")
    assert list(config.contexts) == ["other", "local"]


def test_a_directory_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Misused, match="can not be written"):
        write(tmp_path / "file" / "mllm" / "config.yaml", Config())
