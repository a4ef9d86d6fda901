"""Manifests in files that somebody else wrote, perhaps to keep us busy."""

import os
import time
from pathlib import Path

import pytest

from cli.failures import Failure, Misused
from cli.manifests import documents, files_of, read_all, refuse_twice
from tests.support import PATIENCE

LEVELS = range(40)
ALIASES = "\n".join(f"- &a{n + 1} [*a{n}, *a{n}]" for n in LEVELS)
MERGES = "\n".join(f"a{n + 1}: &a{n + 1} {{<<: [*a{n}, *a{n}]}}" for n in LEVELS)


@pytest.mark.parametrize(
    "text",
    [
        f"items:\n- &a0 [x, x]\n{ALIASES}",
        f"a0: &a0 {{k: 1}}\n{MERGES}",
        "items: &a [*a]",
        "labels: &a {a: *a}",
        "[" * 10_000,
    ],
    ids=["aliases", "merges", "a list in itself", "fields in themselves", "a deep nest"],
)
def test_a_file_that_means_harm_is_refused_soon(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(text)
    begun = time.process_time()

    with pytest.raises(Failure):
        read_all(documents(str(file)))

    assert time.process_time() - begun < PATIENCE  # written out it takes for ever


@pytest.mark.parametrize("name", ["model.json", "model.yaml"])
def test_a_field_that_is_there_twice_is_an_error_in_any_form(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text('{"id": "a", "weights": {"target": "x", "target": "y"}}')

    with pytest.raises(Failure, match="target is there more than once"):
        documents(str(file))


@pytest.mark.parametrize("name", ["model.json", "model.yaml"])
def test_a_byte_order_mark_is_part_of_no_manifest(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text('{"id": "a", "weights": {"target": "x"}}', "utf-8-sig")

    assert [one.manifest.id for one in read_all(documents(str(file)))] == ["a"]


@pytest.mark.parametrize("text", ["{", '{"id": NaN}', "[" * 100_000], ids=["cut", "NaN", "deep"])
def test_what_is_not_json_is_said_not_to_be(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model.json"
    file.write_text(text)

    with pytest.raises(Failure, match="is not JSON"):
        documents(str(file))


@pytest.mark.parametrize("name", ["chat", "a"])
def test_two_manifests_that_claim_one_alias_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.yaml").write_text("id: a\nweights: {target: x}\naliases: [chat]\n")
    (tmp_path / "b.yaml").write_text(f"id: b\nweights: {{target: x}}\naliases: [{name}]\n")

    with pytest.raises(Misused, match=rf"{name} is in .*/a.yaml and in .*/b.yaml"):
        refuse_twice(read_all(documents(str(tmp_path))))


def test_a_list_of_manifests_is_read_as_its_entries(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("items:\n- {id: a, weights: {target: x}}\n- {id: b, weights: {target: x}}\n")

    assert [one.manifest.id for one in read_all(documents(str(file)))] == ["a", "b"]


def test_a_directory_that_can_not_be_read_whole_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(17):  # a path that is too long, which stops even root
        os.mkdir("x" * 250)
        os.chdir("x" * 250)

    with pytest.raises(Failure, match="can not be read: file name too long"):
        files_of(str(tmp_path))
