"""What networks and servers do to downloads: handled, reported, or given up in plain words."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.loopback_hub import Source
from processors.fetch.engine import Fetcher
from processors.fetch.errors import (
    FetchFailed,
    HubUnreachable,
    NotAllowed,
    NotFound,
    VerificationFailed,
)
from processors.fetch.limits import Limits
from processors.fetch.source import Source as FetchSource
from tests.hub import (
    About,
    Account,
    Cut,
    Drop,
    Garble,
    Hub,
    HubSettings,
    IgnoreRange,
    RedirectLoop,
    Refuse,
    Repo,
    Slow,
    Stall,
    Truncate,
    WrongCommit,
    generated,
)
from tests.processors.fetch.fetching import (
    IMPATIENT,
    MIB,
    QUICK,
    REPO,
    Fetch,
    always,
    hashes,
    planned,
    published,
    until,
)
from tests.support import PATIENCE

BIG = "model.safetensors"
FILES: Mapping[str, Source] = {"config.json": b'{"a": 1}', BIG: generated(12 * MIB + 5)}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(Repo(REPO, FILES)) as hub:
        yield hub


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_cut_at_random_bytes_twenty_times_is_resumed_where_it_stopped(
    hub: Hub, tmp_path: Path, reset: bool
) -> None:
    cut = hub.faults.add(Cut(path=BIG, times=20, reset=reset))
    fetch = Fetch(hub, tmp_path / "1")

    fetch.run()

    assert cut.strikes == 20
    assert hashes(tmp_path / "1") == published(hub)
    assert len(fetch.said) >= 20
    assert "retry 1/6 in" in fetch.said[0]


def test_what_arrived_before_a_cut_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Cut(path=BIG, times=20))

    Fetch(hub, tmp_path / "1").run()

    assert hub.recording.sent(BIG) == 12 * MIB + 5


def test_one_stream_alone_survives_twenty_cuts(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Cut(path=BIG, times=20, after=(1, 200_000)))

    Fetch(hub, tmp_path / "1", limits=Limits(streams=1, backoff=0.01, retries=1, reserve=0)).run()

    assert hashes(tmp_path / "1") == published(hub)


def test_a_connection_dropped_instead_of_an_answer_is_tried_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Drop(times=3))
    hub.faults.add(Drop(times=3, reset=True))

    Fetch(hub, tmp_path / "1").run()

    assert hashes(tmp_path / "1") == published(hub)


def test_too_many_requests_are_answered_with_the_wait_that_was_asked_for(
    hub: Hub, tmp_path: Path
) -> None:
    hub.faults.add(Refuse(status=429, retry_after=1, times=1, path=BIG))
    fetch = Fetch(hub, tmp_path / "1", limits=Limits(streams=1, backoff=0.01, reserve=0))

    fetch.run()

    refused, following = hub.recording.select("cdn", path=BIG)[:2]
    assert following.started - refused.started >= 1.0
    assert "answered 429; retry 1/6 in 1." in fetch.said[0]


def test_no_stream_asks_while_the_server_wants_to_be_left_alone(tmp_path: Path) -> None:
    files = {f"{number}.safetensors": generated(MIB, seed=number) for number in range(24)}
    heard: list[float] = []
    with Hub(Repo(REPO, files), settings=HubSettings(bytes_per_second=16 * MIB)) as hub:
        hub.faults.add(Refuse(status=429, retry_after=1, times=1))
        fetch = Fetch(hub, tmp_path / "1", limits=Limits(streams=2, reserve=0))
        fetch.fetcher = Fetcher(
            FetchSource(hub.url, REPO, hub.repos[REPO].head.sha),
            tmp_path / "1",
            always,
            limits=fetch.limits,
            say=lambda line: heard.append(time.monotonic()),
        )

        fetch.run()

        [refused] = [e for e in hub.recording.exchanges if e.status == 429]
        asked = [e for e in hub.recording.exchanges if heard[0] < e.started < refused.started + 1]
        # The other stream may have looked just before: then it asks once more, and is redirected.
        assert len(asked) <= 2


def test_a_wait_longer_than_we_have_ends_the_attempt_and_says_until_when(
    hub: Hub, tmp_path: Path
) -> None:
    hub.faults.add(Refuse(status=429, retry_after=3600))

    with pytest.raises(FetchFailed) as caught:
        Fetch(hub, tmp_path / "1").run()

    assert (caught.value.retryable, caught.value.retry_after) == (True, 3600)


def test_five_times_unavailable_is_not_the_end(hub: Hub, tmp_path: Path) -> None:
    refused = hub.faults.add(Refuse(status=503, times=5, path=BIG))

    Fetch(hub, tmp_path / "1", limits=Limits(streams=1, backoff=0.01, reserve=0)).run()

    assert refused.strikes == 5
    assert hashes(tmp_path / "1") == published(hub)


def test_a_server_that_never_recovers_is_given_up(hub: Hub, tmp_path: Path) -> None:
    refused = hub.faults.add(Refuse(status=503, path=BIG))

    with pytest.raises(FetchFailed, match=r"127\.0\.0\.1 answered 503") as caught:
        Fetch(hub, tmp_path / "1", limits=Limits(streams=1, backoff=0.01, reserve=0)).run()

    assert caught.value.retryable
    assert refused.strikes == 7  # the first try, and six more


def test_a_hub_out_of_reach_is_said_to_be(hub: Hub, tmp_path: Path) -> None:
    with hub.out_of_reach(), pytest.raises(HubUnreachable) as caught:
        Fetch(hub, tmp_path / "1").run()

    assert (caught.value.code, caught.value.retryable) == ("hub_unreachable", True)


def test_a_hub_that_comes_back_in_time_is_not_missed(hub: Hub, tmp_path: Path) -> None:
    fetch = Fetch(hub, tmp_path / "1", limits=Limits(backoff=0.1, retries=20, reserve=0))
    with hub.out_of_reach():
        running = fetch.start()
        until(lambda: len(fetch.said) >= 2)

    running.result(PATIENCE)

    assert hashes(tmp_path / "1") == published(hub)


def test_a_server_that_ignores_ranges_is_read_by_one_stream(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(IgnoreRange())

    Fetch(hub, tmp_path / "1").run()

    assert hashes(tmp_path / "1") == published(hub)
    [last] = [e for e in hub.recording.select("cdn", path=BIG) if e.range is None]
    assert last.sent == 12 * MIB + 5


def test_a_server_that_sometimes_ignores_ranges_corrupts_nothing(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Cut(path=BIG, times=2))
    hub.faults.add(IgnoreRange(times=1))

    Fetch(hub, tmp_path / "1", limits=Limits(streams=2, backoff=0.01, reserve=0)).run()

    assert hashes(tmp_path / "1") == published(hub)


def test_a_server_that_ignores_ranges_and_cuts_is_read_to_the_end(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(IgnoreRange())
    hub.faults.add(Cut(path=BIG, times=5, after=(2 * MIB, 12 * MIB)))

    Fetch(hub, tmp_path / "1").run()

    assert hashes(tmp_path / "1") == published(hub)


def test_a_stalled_socket_is_given_up_and_replaced(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Stall(path=BIG, after=100_000, times=2))
    fetch = Fetch(hub, tmp_path / "1", limits=IMPATIENT)
    started = time.monotonic()

    fetch.run()

    assert time.monotonic() - started >= 0.5
    assert hashes(tmp_path / "1") == published(hub)
    assert any("127.0.0.1 has stalled; retry 1/6 in" in line for line in fetch.said)


def test_a_trickle_is_a_stall(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Slow(path=BIG, bytes_per_second=100, times=1))
    fetch = Fetch(hub, tmp_path / "1", limits=IMPATIENT)

    fetch.run()

    assert any("sends next to nothing" in line for line in fetch.said)
    assert hashes(tmp_path / "1") == published(hub)


def test_wrong_bytes_once_are_fetched_again(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Garble(path=BIG, times=1))
    fetch = Fetch(hub, tmp_path / "1")

    fetch.run()

    assert hashes(tmp_path / "1") == published(hub)
    assert fetch.said == [f"{BIG}: the hash is wrong; fetching it once more"]
    assert fetch.fetcher.progress.snapshot().done == 12 * MIB + 5 + 8


@pytest.mark.parametrize("path", [BIG, "config.json"])
def test_wrong_bytes_always_fail_naming_the_file(hub: Hub, tmp_path: Path, path: str) -> None:
    hub.faults.add(Garble(path=path))

    with pytest.raises(VerificationFailed, match=path) as caught:
        Fetch(hub, tmp_path / "1").run()

    assert (caught.value.code, caught.value.path) == ("verification_failed", path)
    assert path not in hashes(tmp_path / "1")


def test_another_size_than_listed_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(Truncate(path="config.json"))

    with pytest.raises(FetchFailed, match=r"config.json has 4 bytes where 8 were listed"):
        Fetch(hub, tmp_path / "1").run()


def test_a_file_shorter_than_listed_is_refused(hub: Hub, tmp_path: Path) -> None:
    fetch = Fetch(hub, tmp_path / "1")
    longer = [
        type(file)(file.path, file.size + 9 * MIB, file.algorithm, file.digest)
        for file in planned(hub)
    ]

    with pytest.raises(FetchFailed, match=f"{BIG} (is shorter than|has .* bytes where)"):
        fetch.fetcher.run(longer[1:])


def test_another_commit_than_asked_for_is_refused(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(WrongCommit(kinds={"resolve", "cache"}))

    with pytest.raises(FetchFailed, match="asked for commit") as caught:
        Fetch(hub, tmp_path / "1").run()

    assert not caught.value.retryable


def test_redirects_come_to_an_end(hub: Hub, tmp_path: Path) -> None:
    hub.faults.add(RedirectLoop(kinds={"resolve"}))

    with pytest.raises(FetchFailed):
        Fetch(hub, tmp_path / "1").run()


def test_a_link_that_has_expired_is_asked_for_anew(tmp_path: Path) -> None:
    settings = HubSettings(link_seconds=1, bytes_per_second=4 * MIB)
    with Hub(Repo(REPO, FILES), settings=settings) as hub:
        Fetch(hub, tmp_path / "1", limits=Limits(streams=1, backoff=0.01, reserve=0)).run()

        assert hashes(tmp_path / "1") == published(hub)
        assert len(hub.recording.select("resolve", path=BIG)) >= 2


GATED = Repo("org/gated", FILES, About(gated="manual"))
PRIVATE = Repo("org/private", FILES, About(private=True))
ANN = Account("ann", "hf_of_ann", frozenset({"org/gated", "org/private"}))


@pytest.mark.parametrize("token", ["", "hf_of_bob"])
def test_a_gated_repository_is_not_tried_twice(tmp_path: Path, token: str) -> None:
    with Hub(GATED, accounts=[ANN, Account("bob", "hf_of_bob")]) as hub:
        fetch = Fetch(
            hub, tmp_path / "1", Limits(streams=1, reserve=0), repo="org/gated", token=token
        )

        with pytest.raises(NotAllowed, match="gated") as caught:
            fetch.run()

        assert (caught.value.code, caught.value.retryable) == ("gated", False)
        assert len(hub.recording.exchanges) == 1


def test_a_gated_repository_opens_to_those_it_let_in(tmp_path: Path) -> None:
    with Hub(GATED, accounts=[ANN]) as hub:
        Fetch(hub, tmp_path / "1", repo="org/gated", token=ANN.token).run()

        assert hashes(tmp_path / "1") == published(hub, "org/gated")


def test_a_private_repository_is_not_found(tmp_path: Path) -> None:
    with Hub(PRIVATE, accounts=[ANN]) as hub, pytest.raises(NotFound):
        Fetch(hub, tmp_path / "1", repo="org/private").run()


def test_a_token_that_nobody_has_is_not_allowed(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotAllowed) as caught:
        Fetch(hub, tmp_path / "1", token="hf_of_nobody").run()

    assert caught.value.code == "not_allowed"
    assert "--token-secret" in str(caught.value.details["remedy"])
    assert "hf_of_nobody" not in str(caught.value)


def test_an_unknown_commit_is_not_found(hub: Hub, tmp_path: Path) -> None:
    fetcher = Fetcher(FetchSource(hub.url, REPO, "f" * 40), tmp_path / "1", always, limits=QUICK)

    with pytest.raises(NotFound):
        fetcher.run(planned(hub))
