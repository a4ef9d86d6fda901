"""Installed weights are what their manifest says, or it is said what is not."""

import hashlib
import shutil
from pathlib import Path

import pytest

from cli.loopback_hub import Source
from processors.fetch.commit import commit, seal
from processors.fetch.errors import Stopped
from processors.fetch.layout import Layout, content, manifest_path
from processors.fetch.manifest import Manifest
from processors.fetch.progress import Progress
from processors.fetch.verify import Verdict, verify
from schemas.job import FinishedFile
from tests.hub import Hub, Repo, generated
from tests.processors.fetch.fetching import MIB, REPO, Fetch, always

JOB = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
SIZE = 5 * MIB + 8


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights that were installed from a hub."""
    files: dict[str, Source] = {
        "config.json": b'{"a": 1}',
        "deep/model.safetensors": generated(5 * MIB),
    }
    layout = Layout(tmp_path)
    staging, target = layout.attempt("default", JOB, 1), layout.target("default", "model")
    with Hub(Repo(REPO, files)) as hub:
        finished = Fetch(hub, staging).run()
    written = Manifest(REPO, "c" * 40, "main", JOB, tuple(finished))
    commit(content(staging), target, seal(content(staging), written, always), always)
    return target


def checked(weights: Path) -> Verdict:
    return verify(weights, Progress(), always)


def test_weights_left_alone_are_well(weights: Path) -> None:
    progress = Progress()

    verdict = verify(weights, progress, always)

    assert verdict == Verdict(2, SIZE, (), (), ())
    assert verdict.well
    seen = progress.snapshot()
    assert (seen.done, seen.total, seen.files_done) == (SIZE, SIZE, 2)


def test_one_wrong_bit_is_found(weights: Path) -> None:
    path = weights / "deep" / "model.safetensors"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(3 * MIB)
        byte = file.read(1)[0]
        file.seek(3 * MIB)
        file.write(bytes([byte ^ 1]))

    assert checked(weights).corrupt == ("deep/model.safetensors",)
    assert not checked(weights).well


def test_a_missing_and_a_stray_file_are_found(weights: Path) -> None:
    (weights / "config.json").unlink()
    (weights / "deep" / "stray").write_bytes(b"")

    assert checked(weights) == Verdict(2, SIZE, ("config.json",), (), ("deep/stray",))


@pytest.mark.parametrize("size", [4, 9])
def test_another_size_is_found(weights: Path, size: int) -> None:
    path = weights / "config.json"
    path.unlink()
    path.write_bytes(b'{"a": 1} '[:size])

    assert checked(weights).corrupt == ("config.json",)


def test_a_link_to_the_right_bytes_is_not_the_file(weights: Path, tmp_path: Path) -> None:
    path = weights / "config.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    assert checked(weights).missing == ("config.json",)


@pytest.mark.parametrize("all_of_it", [False, True])
def test_of_weights_without_a_manifest_that_is_missing(weights: Path, all_of_it: bool) -> None:
    if all_of_it:
        shutil.rmtree(weights)
    else:
        manifest_path(weights).unlink()

    assert checked(weights) == Verdict(0, 0, (".mllm/manifest.json",), (), ())


def test_a_verification_can_be_stopped(weights: Path) -> None:
    def stopped() -> None:
        raise Stopped("enough")

    with pytest.raises(Stopped):
        verify(weights, Progress(), stopped)


def test_installed_files_are_read_only(weights: Path) -> None:
    for path in (weights / "config.json", weights / "deep" / "model.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o444


def test_an_unknown_hash_is_no_match(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    digest = hashlib.md5(b"a", usedforsecurity=False).hexdigest()
    seal(tmp_path, Manifest(REPO, "c", "main", JOB, (FinishedFile("a", 1, "md5", digest),)), always)

    assert checked(tmp_path).corrupt == ("a",)
