"""What ends a fetch ends all of it, at once: a stop, a lost lease, a full disk."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from cli.loopback_hub import Source as Content
from processors.fetch.engine import Fetcher
from processors.fetch.errors import Fenced, NoSpace, Stopped
from processors.fetch.limits import Limits
from processors.fetch.source import Source
from tests.hub import Cut, Hang, Hub, HubSettings, Refuse, Repo, Stall, generated
from tests.processors.fetch.fetching import MIB, QUICK, REPO, Fetch, always, planned, until
from tests.support import PATIENCE

BIG = "model.safetensors"
SLOW = HubSettings(bytes_per_second=MIB // 2)
SLOWEST = HubSettings(bytes_per_second=MIB // 32)  # two minutes for a part
FOR_EVER = Limits(stall=600, backoff=600, longest_wait=3600, reserve=0)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(Repo(REPO, {BIG: generated(64 * MIB)}), settings=SLOW) as hub:
        yield hub


def state(directory: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of the last change of all that is in a directory."""
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in directory.rglob("*")}


def assert_still(hub: Hub, directory: Path) -> None:
    """Nobody receives, nobody writes."""
    until(lambda: all(e.ended < time.monotonic() for e in hub.recording.exchanges))
    before = hub.recording.sent(), state(directory)
    threading.Event().wait(0.3)
    assert (hub.recording.sent(), state(directory)) == before


def test_a_stop_in_full_flight_does_not_wait_for_what_is_under_way(tmp_path: Path) -> None:
    with Hub(Repo(REPO, {BIG: generated(64 * MIB)}), settings=SLOWEST) as hub:
        fetch = Fetch(hub, tmp_path / "1")
        running = fetch.start()
        until(lambda: hub.recording.sent() > MIB // 8)

        fetch.fetcher.stop("cancelled by ann")
        with pytest.raises(Stopped, match="cancelled by ann"):
            running.result(PATIENCE)

        assert max(exchange.sent for exchange in hub.recording.exchanges) < QUICK.part
        assert_still(hub, tmp_path / "1")


def test_what_little_each_stream_has_is_there_after_a_stop(hub: Hub, tmp_path: Path) -> None:
    first = Fetch(hub, tmp_path / "1")
    running = first.start()
    until(lambda: first.fetcher.progress.network > 3 * MIB)
    first.fetcher.stop("paused by ann")
    with pytest.raises(Stopped):
        running.result(PATIENCE)

    second = Fetch(hub, tmp_path / "2")
    running = second.start(tmp_path / "1")
    until(lambda: second.fetcher.progress.network > 0)
    second.fetcher.stop("enough")
    with pytest.raises(Stopped):
        running.result(PATIENCE)

    received = first.fetcher.progress.network + second.fetcher.progress.network
    assert second.fetcher.progress.snapshot().done > 0.9 * received


@pytest.mark.parametrize(
    "fault",
    [
        Stall(after=1000),
        Hang(kinds={"resolve"}),
        Refuse(status=429, retry_after=600),
        Cut(after=(0, 0)),
    ],
)
def test_a_stop_does_not_wait_for_the_network(
    hub: Hub, tmp_path: Path, fault: Stall | Hang | Refuse | Cut
) -> None:
    armed = hub.faults.add(fault)
    fetch = Fetch(hub, tmp_path / "1", limits=FOR_EVER)
    running = fetch.start()
    until(lambda: armed.strikes > 0)

    fetch.fetcher.stop("enough")
    with pytest.raises(Stopped):
        running.result(PATIENCE)


def test_a_stop_before_the_start_keeps_it_from_starting(hub: Hub, tmp_path: Path) -> None:
    fetch = Fetch(hub, tmp_path / "1")
    fetch.fetcher.stop("never mind")

    with pytest.raises(Stopped):
        fetch.run()

    assert not (tmp_path / "1").exists()
    assert hub.recording.exchanges == []


def test_a_lost_lease_stops_every_write(hub: Hub, tmp_path: Path) -> None:
    lost = threading.Event()

    def fence() -> None:
        if lost.is_set():
            raise Fenced

    fetch = Fetch(hub, tmp_path / "1", fence=fence)
    running = fetch.start()
    until(lambda: hub.recording.sent() > 4 * MIB)

    lost.set()
    before = state(tmp_path / "1")
    with pytest.raises(Fenced) as caught:
        running.result(PATIENCE)

    assert caught.value.code == "fenced"
    assert_still(hub, tmp_path / "1")
    # a write that was under way when the lease was lost may end; none begins
    changed = [path for path, was in state(tmp_path / "1").items() if before.get(path) != was]
    assert len(changed) <= 2


def test_a_disk_too_small_is_said_before_the_first_byte(hub: Hub, tmp_path: Path) -> None:
    fetcher = fetcher_on(hub, tmp_path, lambda: 66 * MIB)

    with pytest.raises(NoSpace) as caught:
        fetcher.run(planned(hub))

    assert caught.value.code == "no_space"
    assert caught.value.details == {
        "needed": 64 * MIB,
        "free": 66 * MIB,
        "reserve": 3 * MIB,
    }
    assert "67,108,864" in str(caught.value)
    assert hub.recording.exchanges == []


def test_a_disk_that_fills_up_in_the_middle_stops_the_fetch(hub: Hub, tmp_path: Path) -> None:
    free = 100 * MIB
    fetcher = fetcher_on(hub, tmp_path, lambda: free - 10 * hub.recording.sent())

    with pytest.raises(NoSpace) as caught:
        fetcher.run(planned(hub))

    assert 0 < hub.recording.sent() < 64 * MIB
    assert not caught.value.retryable
    needed = caught.value.details["needed"]
    assert isinstance(needed, int)
    assert 0 < needed <= 64 * MIB
    assert_still(hub, tmp_path / "1")


def fetcher_on(hub: Hub, tmp_path: Path, free: Callable[[], int]) -> Fetcher:
    """A fetcher on a disk of which it is known how much is free."""
    source = Source(hub.url, REPO, hub.repos[REPO].head.sha)
    limits = msgspec.structs.replace(QUICK, reserve=3 * MIB)
    return Fetcher(source, tmp_path / "1", always, limits=limits, free=lambda _: free())


def test_the_bandwidth_cap_is_kept(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "model.safetensors": generated(7 * MIB),
        **{f"{number}.json": b"x" * 50_000 for number in range(20)},
    }
    with Hub(Repo(REPO, files)) as hub:
        cap = 4 * MIB
        size = sum(file.size for file in planned(hub))
        started = time.monotonic()

        Fetch(hub, tmp_path / "1", limits=Limits(bandwidth=cap, reserve=0)).run()

        rate = size / (time.monotonic() - started)
        assert rate <= 1.15 * cap
        assert rate >= 0.085 * cap  # wide: a busy machine is slower than any cap


def test_a_stall_is_seen_while_it_lasts(tmp_path: Path) -> None:
    with Hub(Repo(REPO, {BIG: generated(8 * MIB)})) as hub:
        hub.faults.add(Stall(after=1000))
        fetch = Fetch(hub, tmp_path / "1", limits=Limits(stall=0.2, backoff=60, reserve=0))
        running = fetch.start()

        def noted(words: str) -> bool:
            return re.search(words, fetch.fetcher.progress.snapshot().note) is not None

        until(lambda: noted(r"retry 1/6 in \d+s"))
        until(lambda: noted(r"stalled \d+s, retry 1/6 in \d+s"))

        [active] = fetch.fetcher.progress.snapshot().active
        assert (active.path, active.size) == (BIG, 8 * MIB)
        fetch.fetcher.stop("seen enough")
        with pytest.raises(Stopped):
            running.result(PATIENCE)
