"""TLS, proxies and connections: the road between us and the hub."""

import http.server
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from processors.fetch.engine import Fetcher
from processors.fetch.errors import FetchFailed, HubUnreachable
from processors.fetch.source import Source
from schemas.job import FinishedFile
from schemas.plan import PlannedFile
from tests.processors.fetch.fetching import QUICK, REPO, always

CERTIFICATE = Path(__file__).with_name("localhost.pem")
COMMIT = "c" * 40
CONFIG = PlannedFile("config.json", 2, "blob-sha1", "9e26dfeeb6e641a33dae4961196235bdb965b21b")


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with `{}`, or with a redirect to wherever the server wants its clients."""

    protocol_version = "HTTP/1.1"

    @property
    def ours(self) -> "Server":
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        self.ours.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        self.send_response(302 if self.ours.elsewhere else 200)
        self.send_header("Location", self.ours.elsewhere)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        self.close_connection = self.ours.hang_up

    def do_CONNECT(self) -> None:
        self.ours.asked.append((self.path, self.headers.get("Proxy-Authorization")))
        self.send_error(502)

    def log_message(self, format: str, *args: object) -> None: ...


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, elsewhere: str = "", *, hang_up: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.elsewhere = elsewhere
        self.hang_up = hang_up
        self.asked: list[tuple[str, str | None]] = []
        self.connections = 0

    def verify_request(self, request: object, client_address: object) -> bool:
        self.connections += 1
        return True

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


@contextmanager
def serving(server: Server, *, tls: bool = False) -> Generator[Server]:
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fetch(endpoint: str, directory: Path, tls: ssl.SSLContext | None = None) -> list[FinishedFile]:
    source = Source(endpoint, REPO, COMMIT, tls=tls)
    return Fetcher(source, directory, always, limits=QUICK).run([CONFIG])


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def test_files_come_over_tls(tmp_path: Path) -> None:
    with serving(Server(), tls=True) as server:
        [file] = fetch(f"https://{server.address}", tmp_path / "1", trusting())

    assert file.digest == CONFIG.digest
    assert server.asked == [(f"/{REPO}/resolve/{COMMIT}/config.json", None)]


def test_a_certificate_that_nobody_trusts_is_refused_at_once(tmp_path: Path) -> None:
    with serving(Server(), tls=True) as server, pytest.raises(HubUnreachable, match="certificate"):
        fetch(f"https://{server.address}", tmp_path / "1")

    assert server.asked == []


def test_a_redirect_that_gives_up_tls_is_not_followed(tmp_path: Path) -> None:
    with (
        serving(Server()) as plain,
        serving(Server(f"http://{plain.address}/x"), tls=True) as hub,
        pytest.raises(FetchFailed, match="from https to http"),
    ):
        fetch(f"https://{hub.address}", tmp_path / "1", trusting())

    assert plain.asked == []


def test_an_endpoint_may_have_a_path(tmp_path: Path) -> None:
    with serving(Server()) as server:
        fetch(f"http://{server.address}/mirror/", tmp_path / "1")

    assert server.asked == [(f"/mirror/{REPO}/resolve/{COMMIT}/config.json", None)]


def test_a_proxy_is_used_and_told_who_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Server()) as proxy:
        monkeypatch.setenv("http_proxy", f"http://ann:s%40cret@{proxy.address}")

        fetch("http://hub.example", tmp_path / "1")

    assert proxy.asked == [
        (f"http://hub.example/{REPO}/resolve/{COMMIT}/config.json", "Basic YW5uOnNAY3JldA==")
    ]


def test_a_proxy_is_asked_for_a_tunnel_when_tls_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Server()) as proxy:
        monkeypatch.setenv("https_proxy", f"http://{proxy.address}")

        with pytest.raises(HubUnreachable) as caught:
            fetch("https://hub.example", tmp_path / "1")

    assert {asked for asked in proxy.asked} == {("hub.example:443", None)}
    assert caught.value.retryable


def test_a_host_named_in_no_proxy_is_asked_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(Server()) as server:
        fetch(f"http://{server.address}", tmp_path / "1")

    assert len(server.asked) == 1


def test_a_host_that_does_not_exist_is_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(HubUnreachable, match=r"hub\.invalid failed"):
        fetch("http://hub.invalid", tmp_path / "1")


def test_a_connection_serves_one_file_after_the_other(tmp_path: Path) -> None:
    files = [msgspec.structs.replace(CONFIG, path=f"{number}.json") for number in range(50)]
    with serving(Server()) as server:
        source = Source(f"http://{server.address}", REPO, COMMIT)
        limits = msgspec.structs.replace(QUICK, streams=2)

        Fetcher(source, tmp_path / "1", always, limits=limits).run(files)

    assert len(server.asked) == 50
    assert server.connections == 2


def test_a_connection_that_the_server_has_closed_is_replaced_without_a_word(
    tmp_path: Path,
) -> None:
    files = [msgspec.structs.replace(CONFIG, path=f"{number}.json") for number in range(9)]
    said: list[str] = []
    with serving(Server(hang_up=True)) as server:
        source = Source(f"http://{server.address}", REPO, COMMIT)

        Fetcher(source, tmp_path / "1", always, limits=QUICK, say=said.append).run(files)

    assert len(server.asked) == 9
    assert said == []
