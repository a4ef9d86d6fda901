"""A repository arrives as it was published, in as few requests as that takes."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.loopback_hub import Source
from processors.fetch.errors import FetchFailed, UnsafePath
from processors.fetch.limits import Limits
from schemas.plan import PlannedFile
from tests.hub import EVIL_NAMES, Hub, Repo, Stall, generated, peak
from tests.processors.fetch.fetching import (
    MIB,
    QUICK,
    REPO,
    Fetch,
    hashes,
    planned,
    published,
    until,
)
from tests.support import PATIENCE

FILES: Mapping[str, Source] = {
    "README.md": b"# A model\n",
    "config.json": b'{"a": 1}',
    "empty.bin": b"",
    "empty.txt": b"",
    "deep/er/still/notes.txt": b"far down",
    "odd name [1] %41+&é?#.txt": "ü".encode(),
    "exactly.safetensors": generated(4 * MIB, seed=1),
    "model-1.safetensors": generated(20 * MIB + 1, seed=2),
    "model-2.safetensors": generated(9 * MIB - 1, seed=3),
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(Repo(REPO, FILES)) as hub:
        yield hub


def test_every_file_arrives_with_the_hash_the_hub_gives_it(hub: Hub, tmp_path: Path) -> None:
    fetch = Fetch(hub, tmp_path / "1")

    finished = fetch.run()

    assert hashes(tmp_path / "1") == published(hub)
    assert [(file.path, file.size, file.algorithm, file.digest) for file in finished] == [
        (file.path, file.size, file.algorithm, file.digest) for file in planned(hub)
    ]
    assert fetch.said == []


def test_what_was_counted_is_what_came(hub: Hub, tmp_path: Path) -> None:
    fetch = Fetch(hub, tmp_path / "1")

    finished = fetch.run()

    seen = fetch.fetcher.progress.snapshot()
    size = sum(file.size for file in planned(hub))
    assert (seen.done, seen.total, seen.network) == (size, size, size)
    assert (seen.files_done, seen.files_total, seen.active) == (len(FILES), len(FILES), ())
    assert sorted(fetch.fetcher.progress.finished_since(0), key=lambda file: file.path) == finished


def test_no_byte_is_fetched_twice(hub: Hub, tmp_path: Path) -> None:
    Fetch(hub, tmp_path / "1").run()

    assert hub.recording.sent() == sum(file.size for file in planned(hub))


def test_a_small_file_takes_one_get_and_an_empty_one_none(hub: Hub, tmp_path: Path) -> None:
    Fetch(hub, tmp_path / "1").run()

    assert not hub.recording.select(method="HEAD")
    assert not hub.recording.select(path="empty.*")
    assert len(hub.recording.select("cache", path="config.json")) == 1
    assert len(hub.recording.select("cdn", path="exactly.safetensors")) == 1


def test_a_redirect_is_followed_once_for_all_the_parts_of_a_file(hub: Hub, tmp_path: Path) -> None:
    Fetch(hub, tmp_path / "1", limits=Limits(streams=1, reserve=0)).run()

    assert len(hub.recording.select("resolve", path="model-1.safetensors")) == 1
    assert len(hub.recording.select("cdn", path="model-1.safetensors")) >= 5


def test_no_range_is_longer_than_a_part(hub: Hub, tmp_path: Path) -> None:
    Fetch(hub, tmp_path / "1").run()

    assert max(exchange.sent for exchange in hub.recording.exchanges) == QUICK.part


def test_parts_come_side_by_side(tmp_path: Path) -> None:
    files = {"model.safetensors": generated(32 * MIB)}
    with Hub(Repo(REPO, files)) as hub:
        held = hub.faults.add(Stall())
        running = Fetch(hub, tmp_path / "1", limits=Limits(streams=8, stall=600, reserve=0)).start()
        until(lambda: held.strikes >= 8 or running.done())
        held.disarm()
        running.result(PATIENCE)

        assert peak(hub.recording.select("cdn")) == 8
        assert hashes(tmp_path / "1") == published(hub)


def test_one_file_takes_no_more_streams_than_it_may(tmp_path: Path) -> None:
    files = {f"{number}.safetensors": generated(12 * MIB, seed=number) for number in range(4)}
    with Hub(Repo(REPO, files)) as hub:
        held = hub.faults.add(Stall())
        limits = Limits(streams_per_file=2, stall=600, reserve=0)
        running = Fetch(hub, tmp_path / "1", limits=limits).start()
        until(lambda: held.strikes >= 8 or running.done())
        held.disarm()
        running.result(PATIENCE)

        for path in files:
            assert peak(hub.recording.select("cdn", path=path)) <= 2
        assert peak(hub.recording.select("cdn")) == 8


def test_600_small_files_arrive(tmp_path: Path) -> None:
    files = {f"part-{number % 7}/{number}.json": b"%d" % number for number in range(600)}
    with Hub(Repo(REPO, files)) as hub:
        Fetch(hub, tmp_path / "1").run()

        assert hashes(tmp_path / "1") == published(hub)
        # a few bytes of journal for each of them
        assert (tmp_path / "1" / "journal").stat().st_size < 600 * 250


def test_nothing_is_fetched_a_second_time_once_it_is_there(hub: Hub, tmp_path: Path) -> None:
    first = Fetch(hub, tmp_path / "1").run()
    asked = len(hub.recording.exchanges)

    assert Fetch(hub, tmp_path / "1").run() == first

    assert len(hub.recording.exchanges) == asked


@pytest.mark.parametrize("name", [*EVIL_NAMES, ".mllm/manifest.json", ".MLLM/x", "", "a//b"])
def test_an_evil_name_is_refused_before_anything_touches_the_disk(
    hub: Hub, tmp_path: Path, name: str
) -> None:
    evil = PlannedFile(name, 1, "sha256", "0" * 64)

    with pytest.raises(UnsafePath) as caught:
        Fetch(hub, tmp_path / "1").fetcher.run([*planned(hub), evil])

    assert (caught.value.code, caught.value.path) == ("unsafe_path", name)
    assert list(tmp_path.iterdir()) == []
    assert hub.recording.exchanges == []


def test_a_folder_that_is_a_link_is_not_followed(hub: Hub, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "1" / "files").mkdir(parents=True)
    (tmp_path / "1" / "files" / "deep").symlink_to(outside)
    fetch = Fetch(hub, tmp_path / "1", fence=lambda: plant(tmp_path / "1" / "files" / "deep"))

    def plant(link: Path) -> None:
        """Put the link back whenever somebody is about to write."""
        if not link.exists():
            link.symlink_to(outside)

    with pytest.raises(FetchFailed):
        fetch.run()

    assert list(outside.iterdir()) == []


@pytest.mark.chaos
def test_20000_small_files_arrive(tmp_path: Path) -> None:
    files = {f"part-{number % 97}/{number}.json": b"%d" % number for number in range(20_000)}
    with Hub(Repo(REPO, files)) as hub:
        fetch = Fetch(hub, tmp_path / "1")

        started = time.monotonic()
        fetch.run()
        assert 20_000 / (time.monotonic() - started) > 100

        assert hashes(tmp_path / "1") == published(hub)
        asked = len(hub.recording.exchanges)
        started = time.monotonic()
        Fetch(hub, tmp_path / "2").run(tmp_path / "1")
        assert time.monotonic() - started < 15
        assert len(hub.recording.exchanges) == asked
