import re
import socket
import threading
from urllib.parse import urlsplit

import pytest

from cli.client import Gateway, refusal, ulid
from cli.exits import Exit
from cli.failures import Failure, OutOfReach
from cli.wire import Reply, is_loopback, proxy_of
from schemas.api.jobs import CancelBody, JobAccepted, JobRow
from schemas.names import ULID
from tests.cli.fake_gateway import JOB, TOKEN, FakeGateway, job_row


@pytest.fixture
def client(gateway: FakeGateway) -> Gateway:
    return Gateway(gateway.url, TOKEN, "team")


def test_a_request_says_who_where_and_which(gateway: FakeGateway, client: Gateway) -> None:
    gateway.put(job_row())

    client.get(f"/jobs/{JOB}", JobRow)
    client.close()

    headers = gateway.last().headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["x-mllm-namespace"] == "team"
    assert re.fullmatch(ULID, headers["x-request-id"])
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"])


def test_a_caller_that_is_traced_already_stays_in_its_trace(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-00"
    monkeypatch.setenv("TRACEPARENT", parent)
    gateway.put(job_row())

    client = Gateway(gateway.url, TOKEN, "team")
    client.get(f"/jobs/{JOB}", JobRow)
    client.close()

    assert gateway.last().headers["traceparent"] == parent


def test_only_writes_carry_a_key_and_each_has_its_own(
    gateway: FakeGateway, client: Gateway
) -> None:
    gateway.put(job_row())

    client.get(f"/jobs/{JOB}", JobRow)
    client.send("POST", f"/jobs/{JOB}/cancel", JobAccepted, CancelBody())
    client.send("POST", f"/jobs/{JOB}/cancel", JobAccepted, CancelBody())
    client.close()

    keys = [seen.headers.get("idempotency-key") for seen in gateway.seen]
    assert keys[0] is None
    assert len({keys[1], keys[2]}) == 2


def test_a_write_whose_answer_is_lost_is_sent_again_under_the_same_key(
    gateway: FakeGateway, client: Gateway
) -> None:
    gateway.put(job_row())
    gateway.lost_answers = 1

    accepted = client.send("POST", f"/jobs/{JOB}/cancel", JobAccepted, CancelBody())
    client.close()

    assert accepted.job.id == JOB
    first, second = gateway.seen
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_an_answer_that_is_lost_twice_is_out_of_reach(
    gateway: FakeGateway, client: Gateway
) -> None:
    gateway.put(job_row())
    gateway.lost_answers = 2

    with pytest.raises(OutOfReach):
        client.send("POST", f"/jobs/{JOB}/cancel", JobAccepted, CancelBody())

    assert len(gateway.seen) == 2


def test_a_list_is_read_page_after_page(gateway: FakeGateway, client: Gateway) -> None:
    for number in range(450):
        gateway.put(job_row(f"{number:026}"))

    everything = client.rows("/jobs", JobRow)
    some = client.rows("/jobs", JobRow, 210)
    client.close()

    assert len({row.id for row in everything.rows}) == 450
    assert not everything.more
    assert len(some.rows) == 210
    assert some.more


def test_a_refusal_is_its_cause_its_remedy_and_its_request(
    gateway: FakeGateway, client: Gateway
) -> None:
    gateway.refuse(
        "/jobs", "gated", 403, detail="org/x is gated", remedy="accept https://hf.co/org/x"
    )

    with pytest.raises(Failure) as raised:
        client.rows("/jobs", JobRow)
    client.close()

    failure = raised.value
    assert failure.cause == "org/x is gated"
    assert failure.remedy == "accept https://hf.co/org/x"
    assert failure.request_id == "request-9"
    assert failure.exit == Exit.NOT_ALLOWED


@pytest.mark.parametrize(
    ("errors", "cause", "lines"),
    [
        (("id: is missing",), "it is not valid; id: is missing", ()),
        (("id: is missing", "a: is none"), "it is not valid", ("id: is missing", "a: is none")),
    ],
)
def test_several_errors_of_a_refusal_are_lines_of_their_own(
    gateway: FakeGateway,
    client: Gateway,
    errors: tuple[str, ...],
    cause: str,
    lines: tuple[str, ...],
) -> None:
    gateway.refuse("/jobs", "invalid", 422, detail="it is not valid", errors=errors)

    with pytest.raises(Failure) as raised:
        client.rows("/jobs", JobRow)
    client.close()

    assert (raised.value.cause, raised.value.lines) == (cause, lines)


@pytest.mark.parametrize(
    ("code", "status", "exit"),
    [
        ("not_found", 404, 3),
        ("secret_not_found", 422, 3),
        ("gated", 403, 4),
        ("unauthenticated", 401, 4),
        ("token_expired", 401, 4),
        ("token_revoked", 401, 4),
        ("forbidden_scope", 403, 4),
        ("forbidden_namespace", 403, 4),
        ("weights_not_installed", 422, 3),
        ("conflict", 409, 5),
        ("fenced", 409, 5),
        ("no_space", 507, 7),
        ("hub_unreachable", 503, 1),
        ("unsafe_path", 422, 1),
        ("invalid", 400, 2),
        ("internal", 500, 1),
        ("something_new", 409, 5),
    ],
)
def test_every_refusal_has_an_exit_code(
    gateway: FakeGateway, client: Gateway, code: str, status: int, exit: int
) -> None:
    gateway.refuse("/jobs", code, status)

    with pytest.raises(Failure) as raised:
        client.rows("/jobs", JobRow)
    client.close()

    assert raised.value.exit == exit


def test_nothing_listening_is_out_of_reach() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OutOfReach, match="connection refused") as raised:
            Gateway(f"http://127.0.0.1:{port}", "", "default").get("/jobs", JobRow)

    assert "mllm up" in raised.value.remedy


def test_a_server_that_does_not_speak_http_is_out_of_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
                connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(OutOfReach):
            Gateway(f"http://127.0.0.1:{server.getsockname()[1]}", "", "d").get("/jobs", JobRow)
        thread.join()


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OutOfReach, match="too long"):
            Gateway(url, "", "default", timeout=0.05).get("/jobs", JobRow)


def test_an_answer_of_another_shape_is_no_traceback(gateway: FakeGateway, client: Gateway) -> None:
    with pytest.raises(OutOfReach, match="not what this mllm expects"):
        client.get("/readyz", JobRow)
    client.close()


@pytest.mark.parametrize("status", [403, 404, 502])
@pytest.mark.parametrize("body", [b"<html>", b'{"detail": "Not Found"}', b""])
def test_a_refusal_by_something_else_is_out_of_reach(status: int, body: bytes) -> None:
    failure = refusal(Reply(status, {}, body))

    assert f"HTTP {status}" in failure.cause
    assert failure.exit == Exit.OUT_OF_REACH


def test_a_ulid_is_one_and_later_ones_sort_later() -> None:
    assert all(re.fullmatch(ULID, ulid()) for _ in range(100))
    assert len({ulid() for _ in range(100)}) == 100


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "mllm.localhost", "127.9.9.9"])
def test_this_machine_is_known_by_all_its_names(host: str) -> None:
    assert is_loopback(host)


def test_a_proxy_is_used_for_https_elsewhere_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example")

    def proxy(url: str) -> str | None:
        found = proxy_of(urlsplit(url))
        return found.hostname if found else None

    assert proxy("https://outside.example") == "proxy"
    assert proxy("https://inside.example") is None
    assert proxy("https://127.0.0.1:8443") is None
    assert proxy("http://outside.example") is None
