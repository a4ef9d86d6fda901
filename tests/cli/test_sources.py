"""What a directory of manifests is called: the same for the same, and for nothing else."""

import re
import subprocess
from pathlib import Path

import pytest

from cli.sources import source_of
from schemas.manifest import LABEL_VALUE

HTTPS = "https://github.com/acme/models.git"


def checkout(at: Path, url: str, remote: str = "origin") -> Path:
    """A git work tree with that remote, and `team/llms` in it."""
    (at / "team" / "llms").mkdir(parents=True)
    for words in (("init", "-q"), ("remote", "add", remote, url)):
        subprocess.run(("git", "-C", str(at), *words), check=True)
    return at


def source(at: Path) -> str:
    found = source_of(str(at))
    assert re.fullmatch(LABEL_VALUE, found)
    return found


@pytest.mark.parametrize(
    "url",
    [
        HTTPS,
        "https://ci:to@ken@GitHub.com/acme/models/",
        "git@github.com:acme/models.git",
        "ssh://git@github.com:22/acme/models",
    ],
)
def test_checkouts_of_one_repository_are_the_same_however_they_were_made(
    tmp_path: Path, url: str
) -> None:
    mine, ci = checkout(tmp_path / "mine", HTTPS), checkout(tmp_path / "ci", url, "upstream")

    assert source(mine) == source(ci)
    assert source(mine / "team") == source(ci / "team")


def test_checkouts_of_a_repository_on_this_machine_are_the_same(tmp_path: Path) -> None:
    one, two = (checkout(tmp_path / name, "/srv/git/models.git") for name in ("one", "two"))

    assert source(one) == source(two)


def test_places_that_are_not_the_same_are_told_apart(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "a" / "models", HTTPS)
    places = [
        repository,
        repository / "team",
        repository / "team" / "llms",
        checkout(tmp_path / "b" / "models", "https://github.com/other/models"),
        checkout(tmp_path / "c" / "models", "https://elsewhere.com/acme/models"),
        tmp_path / "d" / "models",
        tmp_path / "e" / "models",
    ]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)

    assert len({source(place) for place in places}) == len(places)


def test_a_source_tells_people_which_directory_it_is(tmp_path: Path) -> None:
    repository = checkout(tmp_path / "build-4711", HTTPS)

    assert source(repository).startswith("models-")
    assert source(repository / "team" / "llms").startswith("llms-")
    (tmp_path / "my models").mkdir()
    assert source(tmp_path / "my models").startswith("my-models-")


def test_a_hook_of_another_repository_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = checkout(tmp_path / "mine", HTTPS)
    before = source(repository)
    monkeypatch.setenv("GIT_DIR", str(checkout(tmp_path / "other", "git@x.com:a/b") / ".git"))

    assert source(repository) == before
