"""Weights appear, change and go in one step, wherever a crash falls between two."""

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from processors.fetch import kernel
from processors.fetch.commit import commit, committed, discard, empty, remove, seal
from processors.fetch.errors import Conflict, Fenced, FetchFailed, VerificationFailed
from processors.fetch.layout import Layout, content, manifest_path
from processors.fetch.manifest import Manifest, digest, encode, read
from schemas.job import FinishedFile
from schemas.message import Rejected
from tests.processors.fetch.fetching import always, until

JOB = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def staged(layout: Layout, text: bytes, attempt: int = 1) -> Path:
    """A staging directory with two files that say `text`; returns its content."""
    directory = content(layout.attempt("default", JOB, attempt))
    (directory / "deep").mkdir(parents=True)
    (directory / "config.json").write_bytes(text)
    (directory / "deep" / "model.bin").write_bytes(text * 2)
    return directory


def manifest(text: bytes) -> Manifest:
    files = {"deep/model.bin": text * 2, "config.json": text}
    finished = tuple(
        FinishedFile(path, len(data), "sha256", hashlib.sha256(data).hexdigest())
        for path, data in files.items()
    )
    return Manifest("org/model", "c" * 40, "main", JOB, finished)


def sealed(layout: Layout, text: bytes, attempt: int = 1) -> tuple[Path, str]:
    directory = staged(layout, text, attempt)
    return directory, seal(directory, manifest(text), always)


def test_sealed_weights_are_put_in_place(layout: Layout) -> None:
    directory, sha256 = sealed(layout, b"one")
    target = layout.target("default", "org/model")
    assert not committed(target, sha256)

    commit(directory, target, sha256, always)

    assert committed(target, sha256)
    assert (target / "deep" / "model.bin").read_bytes() == b"oneone"
    assert not directory.exists()


def test_a_manifest_names_every_file_in_order(layout: Layout) -> None:
    directory, _ = sealed(layout, b"one")

    written = read(directory)

    assert written is not None
    assert [file.path for file in written.files] == ["config.json", "deep/model.bin"]
    assert (written.repo, written.commit, written.revision) == ("org/model", "c" * 40, "main")
    assert written.bytes == 9
    assert manifest_path(directory).stat().st_mode & 0o777 == 0o444


def test_what_is_not_all_there_is_not_sealed(layout: Layout) -> None:
    directory = staged(layout, b"one")
    (directory / "config.json").write_bytes(b"cut")
    os.truncate(directory / "config.json", 1)

    with pytest.raises(VerificationFailed, match=r"config\.json"):
        seal(directory, manifest(b"one"), always)


def test_what_is_not_sealed_is_not_installed(layout: Layout) -> None:
    target = layout.target("default", "model")

    with pytest.raises(FetchFailed):
        commit(staged(layout, b"one"), target, "0" * 64, always)

    assert not target.exists()


def test_to_commit_again_changes_nothing(layout: Layout) -> None:
    directory, sha256 = sealed(layout, b"one")
    target = layout.target("default", "model")
    commit(directory, target, sha256, always)
    inode = target.stat().st_ino

    commit(directory, target, sha256, always)

    assert target.stat().st_ino == inode


def test_new_weights_take_the_place_of_old_ones(layout: Layout) -> None:
    target = layout.target("default", "model")
    commit(*at(sealed(layout, b"one"), target), always)
    directory, sha256 = sealed(layout, b"two", attempt=2)

    commit(directory, target, sha256, always, replace=True)

    assert committed(target, sha256)
    assert (target / "config.json").read_bytes() == b"two"
    commit(directory, target, sha256, always, replace=True)  # the old ones do not come back
    assert committed(target, sha256)


def at(made: tuple[Path, str], target: Path) -> tuple[Path, Path, str]:
    directory, sha256 = made
    return directory, target, sha256


def test_there_is_no_moment_without_weights(layout: Layout) -> None:
    target = layout.target("default", "model")
    commit(*at(sealed(layout, b"one"), target), always)
    directory, sha256 = sealed(layout, b"two", attempt=2)
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            which = target.stat().st_ino
            try:
                seen.add((target / "config.json").read_bytes())
            except FileNotFoundError:  # on the way into the old ones, which were removed by then
                assert target.stat().st_ino != which

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        until(lambda: b"one" in seen)
        commit(directory, target, sha256, always, replace=True)
        until(lambda: b"two" in seen)
    finally:
        over.set()
        watcher.join()

    assert seen == {b"one", b"two"}


def test_other_weights_are_not_replaced_unasked(layout: Layout) -> None:
    target = layout.target("default", "model")
    commit(*at(sealed(layout, b"one"), target), always)

    with pytest.raises(Conflict):
        commit(*at(sealed(layout, b"two", attempt=2), target), always)

    assert (target / "config.json").read_bytes() == b"one"


def test_a_strangers_directory_is_not_touched(layout: Layout) -> None:
    target = layout.target("default", "model")
    target.mkdir(parents=True)
    (target / "precious").write_bytes(b"mine")

    with pytest.raises(Conflict):
        commit(*at(sealed(layout, b"one"), target), always, replace=True)

    assert (target / "precious").read_bytes() == b"mine"


def test_targets_do_not_nest(layout: Layout) -> None:
    commit(*at(sealed(layout, b"one"), layout.target("default", "org")), always)

    with pytest.raises(Conflict, match="inside the weights in org"):
        commit(*at(sealed(layout, b"two", 2), layout.target("default", "org/model")), always)


def test_targets_do_not_nest_the_other_way_round(layout: Layout) -> None:
    commit(*at(sealed(layout, b"one"), layout.target("default", "org/model")), always)

    with pytest.raises(Conflict):
        commit(*at(sealed(layout, b"two", 2), layout.target("default", "org")), always)


def test_an_empty_directory_is_no_obstacle(layout: Layout) -> None:
    target = layout.target("default", "org")
    target.mkdir(parents=True)
    directory, sha256 = sealed(layout, b"one")

    commit(directory, target, sha256, always)

    assert committed(target, sha256)


class Crash(Exception):
    """Whatever kills a process."""


def crash_at(step: int) -> Callable[[], None]:
    """A fence that everything up to `step` passes, and nothing after."""
    passed = 0

    def fence() -> None:
        nonlocal passed
        passed += 1
        if passed > step:
            raise Crash

    return fence


def cannot(one: Path, other: Path) -> bool:
    """Exchange two directories on a file system that has no such thing."""
    return False


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("exchange", [kernel.exchange, cannot])
def test_an_install_cut_short_at_any_step_is_finished_by_the_next(
    layout: Layout, step: int, exchange: Callable[[Path, Path], bool]
) -> None:
    target = layout.target("default", "model")
    commit(*at(sealed(layout, b"one"), target), always)
    directory = staged(layout, b"two", attempt=2)
    sha256 = digest(encode(manifest(b"two")))

    def install(fence: Callable[[], None]) -> None:
        if not committed(target, sha256):
            assert seal(directory, manifest(b"two"), fence) == sha256
        commit(directory, target, sha256, fence, replace=True, exchange=exchange)

    with suppress(Crash):
        install(crash_at(step))
    assert not target.exists() or (target / "config.json").read_bytes() in {b"one", b"two"}
    install(always)

    assert committed(target, sha256)
    assert (target / "config.json").read_bytes() == b"two"


def test_a_lost_lease_commits_nothing(layout: Layout) -> None:
    directory, sha256 = sealed(layout, b"one")
    target = layout.target("default", "model")

    def lost() -> None:
        raise Fenced

    with pytest.raises(Fenced):
        commit(directory, target, sha256, lost)

    assert not target.exists()


def test_a_late_commit_finds_nothing_to_commit(layout: Layout) -> None:
    directory, sha256 = sealed(layout, b"one")
    target = layout.target("default", "model")
    discard(layout.attempt("default", JOB, 1), layout.trash, always)

    with pytest.raises(FetchFailed):
        commit(directory, target, sha256, always)


def test_removed_weights_are_gone(layout: Layout) -> None:
    target = layout.target("default", "org/model")
    commit(*at(sealed(layout, b"one"), target), always)

    remove(target, layout.trash, always)
    remove(target, layout.trash, always)

    assert not target.exists()
    assert list(layout.trash.iterdir()) == []


def test_only_weights_are_removed(layout: Layout) -> None:
    commit(*at(sealed(layout, b"one"), layout.target("default", "org/model")), always)

    with pytest.raises(Conflict):
        remove(layout.target("default", "org"), layout.trash, always)

    assert layout.target("default", "org/model").exists()


def test_what_a_crash_left_in_the_trash_is_unlinked(layout: Layout) -> None:
    (layout.trash / "half" / "deep").mkdir(parents=True)
    (layout.trash / "half" / "deep" / "gone").write_bytes(b"")

    empty(layout.trash)
    empty(layout.trash / "nowhere")

    assert list(layout.trash.iterdir()) == []


@pytest.mark.parametrize(
    "target", ["", ".", "..", "../x", "a/../b", "a/b/c", "/abs", "a//b", ".mllm", "a/", "a\0b"]
)
def test_a_target_that_escapes_is_none(layout: Layout, target: str) -> None:
    with pytest.raises(Rejected):
        layout.target("default", target)


def test_names_that_escape_are_none(layout: Layout) -> None:
    with pytest.raises(Rejected):
        layout.target("../other", "model")
    with pytest.raises(Rejected):
        layout.job("default", "../../other")
