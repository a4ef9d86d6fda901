"""How long we wait, and for what; what the answers of a hub mean."""

import time
from email.message import Message
from email.utils import formatdate

import pytest

from processors.fetch.errors import FetchFailed, HubUnreachable, NotAllowed, NotFound, Setback
from processors.fetch.limits import MIB, Bandwidth, Limits, Patience
from processors.fetch.progress import Progress
from processors.fetch.source import denial, retry_after
from schemas.job import FinishedFile


class Clock:
    """Time that goes by when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waits_grow_and_are_jittered() -> None:
    patience = Patience(Limits(backoff=1.0, retries=10))

    waits = [patience.after(Setback("cut")) for _ in range(8)]

    for number, wait in enumerate(waits):
        expected = min(2.0**number, 30.0)
        assert 0.5 * expected <= wait <= 1.5 * expected


def test_bytes_refill_patience() -> None:
    patience = Patience(Limits(retries=2, backoff=0.0))
    for _ in range(50):
        patience.after(Setback("cut"))
        patience.after(Setback("cut"))
        patience.refill()

    patience.after(Setback("cut"))
    patience.after(Setback("cut"))
    with pytest.raises(FetchFailed):
        patience.after(Setback("cut"))


def test_a_server_that_never_answered_is_out_of_reach() -> None:
    with pytest.raises(HubUnreachable):
        Patience(Limits(retries=0)).after(Setback("refused", reached=False))


def test_the_server_s_wish_is_a_lower_bound() -> None:
    assert Patience(Limits(backoff=0.01)).after(Setback("429", wait=7)) == 7


@pytest.mark.parametrize(
    ("status", "name", "value", "seconds"),
    [
        (503, "Retry-After", "7", 7.0),
        (503, "Retry-After", "soon", None),
        (503, "Retry-After", "-1", None),
        (503, "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        (429, "RateLimit", '"resolvers";r=0;t=55', 55.0),
        (503, "RateLimit", '"resolvers";r=9;t=55', None),
    ],
)
def test_a_wish_to_be_left_alone_is_understood(
    status: int, name: str, value: str, seconds: float | None
) -> None:
    headers = Message()
    headers[name] = value

    assert retry_after(status, headers) == seconds


def test_a_date_to_come_back_at_is_understood() -> None:
    headers = Message()
    due = time.time() + 60
    headers["Retry-After"] = formatdate(due, usegmt=True)

    wait = retry_after(503, headers)

    assert wait is not None
    assert due - 1 - time.time() <= wait <= 60  # the date has whole seconds


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (401, "GatedRepo", NotAllowed, "gated"),
        (403, "GatedRepo", NotAllowed, "gated"),
        (401, "RepoNotFound", NotFound, "not_found"),
        (404, "EntryNotFound", NotFound, "not_found"),
        (404, "", NotFound, "not_found"),
        (401, "", NotAllowed, "not_allowed"),
        (403, "", NotAllowed, "not_allowed"),
        (400, "", FetchFailed, "fetch_failed"),
    ],
)
def test_a_denial_is_understood(status: int, code: str, kind: type, says: str) -> None:
    headers = Message()
    headers["X-Error-Code"] = code

    error = denial(status, headers, "org/model/config.json")

    assert isinstance(error, kind)
    assert (error.code, error.retryable) == (says, False)


def test_bandwidth_is_shared_and_paid_for_afterwards() -> None:
    clock = Clock()
    bandwidth = Bandwidth(1000, clock)

    assert bandwidth.spend(100) == 0.0  # a tenth of a second may go at once
    assert bandwidth.spend(500) == pytest.approx(0.5)
    assert bandwidth.spend(500) == pytest.approx(1.0)
    clock.now += 5
    assert bandwidth.spend(100) == 0.0
    assert Bandwidth(None).spend(10**12) == 0.0


def test_little_is_taken_at_once_where_little_may_come() -> None:
    assert Limits().chunk == 256 << 10
    assert Limits(bandwidth=16 * MIB).chunk == MIB // 10
    assert Limits(bandwidth=1).chunk == 4 << 10


@pytest.mark.parametrize("wrong", [{"streams": 0}, {"part": -1}, {"bandwidth": 0}])
def test_limits_that_allow_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        Limits(**wrong)


def test_progress_tells_rate_and_what_stands_in_the_way() -> None:
    clock = Clock()
    progress = Progress(clock)
    progress.planned(2, 1000)
    progress.began("a", 100, 600)
    for _ in range(10):
        clock.now += 1
        progress.received("a", 10)
        progress.stored("a", 10)
        progress.snapshot()
    seen = progress.snapshot()
    assert (seen.done, seen.network, seen.note) == (200, 100, "")
    assert seen.rate == pytest.approx(10.0)

    progress.waiting("a", 1, 6, 16)
    clock.now += 12
    assert progress.snapshot().note == "stalled 12s, retry 1/6 in 4s"
    assert progress.snapshot().rate == 0.0

    progress.received("a", 1)
    assert progress.snapshot().note == ""


def test_progress_counts_each_byte_once() -> None:
    progress = Progress()
    progress.planned(3, 600)
    progress.began("a", 0, 100)
    progress.stored("a", 100)
    progress.stored("a", -100)
    progress.began("b", 50, 200)
    progress.abandoned("b")
    progress.began("b", 0, 200)
    progress.stored("b", 200)
    progress.finished(FinishedFile("b", 200, "sha256", ""))
    progress.finished(FinishedFile("c", 300, "sha256", ""))

    seen = progress.snapshot()

    assert (seen.done, seen.files_done, seen.files_total) == (500, 2, 3)
    assert [file.path for file in seen.active] == ["a"]
    assert [file.path for file in progress.finished_since(1)] == ["c"]
