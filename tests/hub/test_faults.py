"""Each fault does what it says, as often as it says, to whom it says."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile

from cli.loopback_hub import Source
from tests.hub import (
    EVIL_NAMES,
    FACTS,
    About,
    Cut,
    Drop,
    Garble,
    Hang,
    Hub,
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
from tests.hub.waiting import until
from tests.support import PATIENCE

BIG = generated(3_000_000)
CONTENT_OF_CONFIG = b'{"a": 1}'
FILES: Mapping[str, Source] = {"config.json": CONTENT_OF_CONFIG, "model.safetensors": BIG}
CONFIG = "/org/model/resolve/main/config.json"
MODEL = "/org/model/resolve/main/model.safetensors"
INFO = "/api/models/org/model"
IMPATIENT = httpx.Timeout(PATIENCE, read=0.2)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(Repo("org/model", FILES, About(xet=True))) as hub:
        yield hub


@pytest.fixture
def client(hub: Hub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=hub.url, follow_redirects=True, timeout=PATIENCE) as client:
        yield client


def test_a_cut_comes_after_some_bytes_and_a_number_of_times(hub: Hub, client: httpx.Client) -> None:
    cut = hub.faults.add(Cut(path="*.safetensors", times=20, after=(1, 9_000_000)))

    for _ in range(20):
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(MODEL)
    assert client.get(CONFIG).status_code == 200
    assert len(client.get(MODEL).content) == BIG.size

    assert cut.strikes == 20
    until(lambda: hub.recording.select("cdn")[-1].sent == BIG.size)
    sent = [e.sent for e in hub.recording.select("cdn")]
    assert all(0 < count < BIG.size for count in sent[:20])
    assert len(set(sent)) > 2


def test_a_cut_can_be_a_reset(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(Cut(reset=True, after=(100_000, 100_000)))

    with pytest.raises(httpx.ReadError):
        client.get(MODEL)


def test_a_refusal_says_when_to_come_back(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(Refuse(status=429, retry_after=7, times=2, kinds=FACTS))

    answers = [client.get(INFO) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "7"


def test_faults_take_turns_in_the_order_they_were_armed(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(Refuse(status=429, times=1))
    hub.faults.add(Refuse(status=503, times=1))

    assert [client.get(CONFIG).status_code for _ in range(3)] == [429, 503, 200]


def test_a_range_can_be_ignored(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(IgnoreRange(times=1))

    answers = [client.get(CONFIG, headers={"Range": "bytes=2-3"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 206]
    assert answers[0].content == CONTENT_OF_CONFIG


def test_a_stall_lasts_until_it_is_disarmed(hub: Hub, client: httpx.Client) -> None:
    stall = hub.faults.add(Stall(after=1_000_000))
    received: list[bytes] = []
    reading = threading.Thread(target=lambda: received.append(client.get(MODEL).content))
    reading.start()

    until(lambda: hub.recording.sent() == 1_000_000)
    with pytest.raises(httpx.ReadTimeout):
        client.get(MODEL, timeout=IMPATIENT)
    assert not received

    stall.disarm()
    reading.join()
    assert len(received[0]) == BIG.size


def test_a_client_that_leaves_a_stall_is_noticed(hub: Hub) -> None:
    hub.faults.add(Stall(after=0))
    place = httpx.get(f"{hub.url}{CONFIG}", timeout=PATIENCE).headers["location"]

    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{hub.url}{place}", timeout=IMPATIENT)

    until(lambda: bool(hub.recording.select("cache")))
    [exchange] = hub.recording.select("cache")
    until(lambda: exchange.ended < time.monotonic())


def test_a_hang_keeps_even_the_headers_back(hub: Hub, client: httpx.Client) -> None:
    hang = hub.faults.add(Hang(kinds={"info"}))
    with pytest.raises(httpx.ReadTimeout):
        client.get(INFO, timeout=IMPATIENT)

    hang.disarm()

    assert client.get(INFO).status_code == 200


def test_a_hub_stops_although_clients_are_held(client: httpx.Client) -> None:
    with ThreadPoolExecutor(2) as pool:
        with Hub(Repo("org/model", FILES)) as hub:
            held = [hub.faults.add(fault) for fault in (Stall(after=0), Hang(kinds={"info"}))]
            waiting = [pool.submit(client.get, f"{hub.url}{path}") for path in (CONFIG, INFO)]
            until(lambda: all(fault.strikes for fault in held))
            assert not any(request.done() for request in waiting)
        for request in waiting:
            request.exception(PATIENCE)  # let go of, with an answer or without


def test_wrong_bytes_are_as_many_as_the_right_ones(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(Garble(path="model.safetensors", times=1))

    wrong, right = client.get(MODEL).content, client.get(MODEL).content

    assert len(wrong) == len(right) == BIG.size
    assert [place for place in range(BIG.size) if wrong[place] != right[place]] == [0]


def test_a_file_can_come_slowly(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(Slow(path="model.safetensors", bytes_per_second=10_000_000))
    began = time.monotonic()

    assert len(client.get(MODEL).content) == BIG.size

    assert time.monotonic() - began > 0.2


def test_a_file_comes_slowly_only_until_the_fault_is_disarmed(
    hub: Hub, client: httpx.Client
) -> None:
    slow = hub.faults.add(Slow(path="model.safetensors", bytes_per_second=1000))

    with client.stream("GET", MODEL) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        slow.disarm()
        rest = b"".join(pieces)

    assert len(first) + len(rest) == BIG.size


def test_an_answer_can_be_dropped(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(Drop(kinds={"tree"}, times=1))

    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{INFO}/tree/main")
    assert client.get(f"{INFO}/tree/main").status_code == 200


def test_a_redirect_can_lead_nowhere(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(RedirectLoop(path="config.json", kinds={"resolve"}))

    with pytest.raises(httpx.TooManyRedirects):
        client.get(CONFIG)


def test_an_answer_can_name_the_wrong_commit(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(WrongCommit(kinds={"resolve"}, times=1))

    commits = [client.head(MODEL, follow_redirects=False).headers["x-repo-commit"] for _ in "ab"]

    assert commits == ["0" * 40, hub.repos["org/model"].head.sha]


def test_json_can_end_early(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(Truncate(kinds=FACTS, times=1))

    answer = client.get(INFO)

    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_file_can_end_early_and_claim_to_be_complete(hub: Hub, client: httpx.Client) -> None:
    hub.faults.add(Truncate(path="model.safetensors"))

    assert len(client.get(MODEL).content) == BIG.size // 2


def test_the_hub_can_be_out_of_reach_and_come_back(hub: Hub, client: httpx.Client) -> None:
    with hub.out_of_reach(), pytest.raises(httpx.ConnectError):
        httpx.get(f"{hub.url}{INFO}", timeout=PATIENCE)

    assert httpx.get(f"{hub.url}{INFO}", timeout=PATIENCE).status_code == 200


def test_a_repository_may_list_names_nobody_should_write_to() -> None:
    with Hub(Repo("org/evil", {name: b"x" for name in EVIL_NAMES})) as hub:
        api = HfApi(endpoint=hub.url, token=False)
        listed = api.list_repo_tree("org/evil", recursive=True)
        assert {e.path for e in listed if isinstance(e, RepoFile)} == set(EVIL_NAMES)


def test_xet_is_offered_and_its_token_can_be_refused(hub: Hub, client: httpx.Client) -> None:
    head = client.head(MODEL, follow_redirects=False)
    where = head.links["xet-auth"]["url"]
    assert len(head.headers["x-xet-hash"]) == 64
    assert client.get(where).headers["x-xet-cas-url"] == hub.cdn_url

    hub.faults.add(Refuse(status=500, kinds={"xet"}))

    assert client.get(where).status_code == 500
