"""Files as HTTP serves them: ranges, entity tags, links that expire, many clients at once."""

import hashlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from cli.loopback_hub import Blob
from tests.hub import Hub, HubSettings, Repo, Stall, generated, peak
from tests.hub.waiting import until
from tests.support import PATIENCE

SMALL = b"0123456789"
BIG = generated(8_000_003)


def content(blob: Blob) -> bytes:
    return blob.content if isinstance(blob.content, bytes) else blob.content.read_bytes()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(Repo("org/model", {"small.txt": SMALL, "big.safetensors": BIG})) as hub:
        yield hub


@pytest.fixture(scope="module")
def client(hub: Hub) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=hub.url, follow_redirects=True, timeout=PATIENCE) as client:
        yield client


def where(path: str) -> str:
    return f"/org/model/resolve/main/{path}"


@pytest.mark.parametrize(
    ("asked", "status", "answered", "body"),
    [
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=-30", 206, "bytes 0-9/10", SMALL),
        ("bytes=8-30", 206, "bytes 8-9/10", b"89"),
        ("bytes=10-", 416, "bytes */10", b""),
        ("bytes=4-2", 416, "bytes */10", b""),
        ("bytes=0-1,4-5", 200, None, SMALL),
        ("lines=1-2", 200, None, SMALL),
        ("bytes=-", 200, None, SMALL),
    ],
)
def test_a_range_is_answered_with_what_there_is_of_it(
    client: httpx.Client, asked: str, status: int, answered: str | None, body: bytes
) -> None:
    response = client.get(where("small.txt"), headers={"Range": asked})

    assert response.status_code == status
    assert response.headers.get("content-range") == answered
    assert response.content == body


def test_a_large_file_comes_in_ranges_from_the_second_host(hub: Hub, client: httpx.Client) -> None:
    response = client.get(where("big.safetensors"), headers={"Range": "bytes=1048570-4194310"})

    assert str(response.url).startswith(hub.cdn_url)
    assert response.status_code == 206
    assert response.content == content(BIG)[1048570:4194311]
    assert response.headers["etag"] == f'"{BIG.sha256}"'
    assert response.headers["accept-ranges"] == "bytes"


def test_a_range_of_another_version_is_answered_with_the_whole_file(client: httpx.Client) -> None:
    for tag, status in ((f'"{BIG.sha256}"', 206), ('"another"', 200)):
        headers = {"Range": "bytes=0-9", "If-Range": tag}
        assert client.get(where("big.safetensors"), headers=headers).status_code == status


def test_the_redirect_of_a_large_file_describes_it(client: httpx.Client) -> None:
    response = client.head(where("big.safetensors"), follow_redirects=False)

    assert response.status_code == 302
    assert response.headers["x-linked-size"] == str(BIG.size)
    assert response.headers["x-linked-etag"] == f'"{BIG.sha256}"'


def test_a_link_to_the_second_host_opens_one_file() -> None:
    files = {"a.safetensors": b"a", "b.safetensors": b"b"}
    with (
        Hub(Repo("org/model", files)) as hub,
        httpx.Client(base_url=hub.url, timeout=PATIENCE) as client,
    ):
        link, other = (client.get(where(path)).headers["location"] for path in files)
        mixed = f"{other.partition('?')[0]}?{link.partition('?')[2]}"

        assert client.get(link).content == b"a"
        assert client.get(mixed).status_code == 403


def test_a_link_to_the_second_host_expires() -> None:
    expired = HubSettings(link_seconds=-1)
    files = {"a.safetensors": b"a"}
    with Hub(Repo("org/model", files), settings=expired) as hub:
        url = f"{hub.url}{where('a.safetensors')}"
        response = httpx.get(url, follow_redirects=True, timeout=PATIENCE)

    assert response.status_code == 403


def test_hosts_do_not_answer_for_each_other(hub: Hub, client: httpx.Client) -> None:
    link = client.get(where("big.safetensors"), follow_redirects=False).headers["location"]

    assert client.get(link.replace(hub.cdn_url, hub.url)).status_code == 404
    assert client.get(f"{hub.cdn_url}/api/models/org/model").status_code == 404


def test_one_connection_serves_many_requests(hub: Hub) -> None:
    address = hub.url.removeprefix("http://").split(":")
    ask = f"GET {where('small.txt')} HTTP/1.1\r\nHost: {':'.join(address)}\r\n\r\n".encode()
    with socket.create_connection((address[0], int(address[1]))) as client:
        client.sendall(ask * 3)  # without waiting for answers
        received = b""
        while received.count(b"Temporary Redirect. Redirecting") < 3:
            received += client.recv(65536)


@pytest.mark.parametrize(
    "words", [b"hello", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x"]
)
def test_what_is_not_http_is_hung_up_on(hub: Hub, words: bytes) -> None:
    address = hub.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as client:
        client.sendall(words + b"\r\n\r\n")
        assert client.recv(65536) == b""


def test_many_clients_are_served_at_once() -> None:
    with Hub(Repo("org/model", {"m.safetensors": BIG})) as hub:
        stall = hub.faults.add(Stall())
        url = f"{hub.url}{where('m.safetensors')}"
        step = 100_000

        def fetch(number: int) -> bytes:
            headers = {"Range": f"bytes={number * step}-{number * step + step - 1}"}
            return httpx.get(url, headers=headers, follow_redirects=True, timeout=PATIENCE).content

        with ThreadPoolExecutor(16) as pool:
            parts = pool.map(fetch, range(16))
            try:
                until(lambda: stall.strikes == 16)
            finally:
                stall.disarm()

        assert b"".join(parts) == content(BIG)[: 16 * step]
        assert peak(hub.recording.select("cdn")) == 16


def test_a_rate_holds_on_a_connection_whatever_it_asks_for() -> None:
    settings = HubSettings(bytes_per_second=4_000_000)
    with (
        Hub(Repo("org/model", {"m.safetensors": BIG}), settings=settings) as hub,
        httpx.Client(base_url=hub.url, follow_redirects=True, timeout=PATIENCE) as client,
    ):
        began = time.monotonic()
        for number in range(4):
            first = number * 500_000
            headers = {"Range": f"bytes={first}-{first + 499_999}"}
            assert len(client.get(where("m.safetensors"), headers=headers).content) == 500_000
        took = time.monotonic() - began

    assert took > 0.4  # 2 MB at 4 MB/s, less the first helping and what it may catch up


def test_generated_files_are_the_same_for_the_same_seed_and_never_repeat() -> None:
    data = content(generated(3_000_000, 7))
    assert hashlib.sha256(data).hexdigest() == generated(3_000_000, 7).sha256
    assert generated(3_000_000, 7).sha256 != generated(3_000_000, 8).sha256
    parts = [data[start : start + 1000] for start in range(0, len(data), 1000)]
    assert len(set(parts)) == len(parts)
