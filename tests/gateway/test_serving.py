"""Models behind one address, asked through the gateway."""

import asyncio
import http.client
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sized
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256

import httpx
import msgspec
import pytest

from gateway.serving import NotServing, Whereabouts
from schemas.live import Endpoint
from schemas.log import LogUnavailable
from schemas.token import RevokeToken
from tests.gateway.engine import Engine, engine
from tests.gateway.rig import Rig, problem
from tests.support import PATIENCE, eventually

PATH = "/serve/active-llm/v1"
MIB = 1024 * 1024


@pytest.fixture
async def model(gate: Rig) -> AsyncGenerator[Engine]:
    """An engine that serves in the slot."""
    async with engine("first") as running:
        await serves(gate, running)
        yield running


async def serves(gate: Rig, running: Engine | None, slot: str = "active-llm") -> None:
    """Let this engine be who answers in the slot."""
    url, name = (running.url, running.name) if running else ("", "")
    endpoint = Endpoint("default", slot, f"activation-{name}", name, url, datetime.now(UTC))
    await gate.live.say_endpoint(endpoint)


async def test_a_request_reaches_the_engine_as_it_was_made(gate: Rig, model: Engine) -> None:
    answer = await gate.ask(
        "POST", f"{PATH}/chat/completions?a=b&c=%20d", json={"model": "x"}, headers={"X-Mine": "1"}
    )

    assert answer.status_code == 200
    assert answer.json()["target"] == "/v1/chat/completions?a=b&c=%20d"
    [asked] = model.asked
    assert asked.body == b'{"model":"x"}'
    assert asked.headers["x-mine"] == "1"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["host"] == model.url.removeprefix("http://")


async def test_every_method_and_name_passes(gate: Rig, model: Engine) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = await gate.ask(method, f"{PATH}/models/org%2Fname")
        assert answer.json()["method"] == method
        assert answer.json()["target"] == "/v1/models/org%2Fname"


async def test_what_is_the_gateways_stays_with_the_gateway(gate: Rig, model: Engine) -> None:
    await gate.ask(
        "GET",
        f"{PATH}/models?namespace=default",
        headers={
            "Cookie": "session=1",
            "X-Mllm-Namespace": "default",
            "Connection": "close, x-hop",
            "X-Hop": "1",
            "X-Request-Id": "request-1",
        },
    )

    [asked] = model.asked
    assert asked.target == "/v1/models"
    assert not asked.headers.keys() & {"authorization", "cookie", "x-mllm-namespace", "x-hop"}
    assert asked.headers["connection"] == "close"
    assert asked.headers["x-request-id"] == "request-1"


async def test_what_is_between_gateway_and_engine_stays_there(gate: Rig, model: Engine) -> None:
    answer = await gate.ask("GET", f"{PATH}/models")

    assert answer.headers["x-engine"] == "yes"
    assert not answer.headers.keys() & {"set-cookie", "x-hop", "connection"}
    assert answer.headers.get_list("x-request-id") != ["mine"]
    assert len(answer.headers.get_list("date")) == 1


@pytest.mark.parametrize(
    "path",
    ["%2e%2e/metrics", "a/..%2f..%2fmetrics", "a%5c..%5cb", "a%0d%0ab", "a//b", "./a", "%2E/a"],
)
async def test_no_path_leads_out_of_the_api(gate: Rig, model: Engine, path: str) -> None:
    status = await raw_status(gate, f"{PATH}/{path}")

    assert status == 400
    assert model.asked == []


async def raw_status(gate: Rig, path: str, length: int = 0) -> int:
    """The status of a request that nobody has tidied up."""

    def ask() -> int:
        connection = http.client.HTTPConnection(gate.url.removeprefix("http://"), timeout=PATIENCE)
        try:
            connection.putrequest("POST", path)
            connection.putheader("Content-Length", str(length))
            connection.putheader("Authorization", f"Bearer {gate.admin}")
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000 + b"\r\n",
        b"HTTP/1.1 999 Whatever\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_an_answer_that_can_not_be_one_is_a_failure(
    gate: Rig, model: Engine, words: bytes
) -> None:
    model.words = words

    answer = await gate.ask("GET", f"{PATH}/words")

    assert (answer.status_code, problem(answer)) == (502, "engine_failed")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_passes_whatever_length_it_says(
    gate: Rig, model: Engine, status: int
) -> None:
    model.words = b"HTTP/1.1 %d So\r\netag: x\r\ncontent-length: 7\r\n\r\n" % status

    answer = await gate.ask("GET", f"{PATH}/words")

    assert (answer.status_code, answer.content, answer.headers["etag"]) == (status, b"", "x")
    assert (await gate.ask("GET", f"{PATH}/words")).status_code == status


async def test_what_an_engine_says_after_its_answer_is_not_heard(gate: Rig, model: Engine) -> None:
    model.words = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\nx-late: 1\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-more: 1\r\n\r\ntwo"
    )

    answer = await gate.ask("GET", f"{PATH}/words")

    assert answer.text == "one"
    assert not answer.headers.keys() & {"x-late", "x-more"}


async def test_an_engine_gives_no_orders_to_proxies_nor_for_the_whole_origin(
    gate: Rig, model: Engine
) -> None:
    names = ("X-Accel-Redirect", "X-Accel-Expires", "X-Sendfile", "Clear-Site-Data", "Set-Cookie")
    said = "".join(f"{name}: /etc/passwd\r\n" for name in names)
    model.words = f"HTTP/1.1 200 OK\r\n{said}content-length: 0\r\n\r\n".encode()

    answer = await gate.ask("GET", f"{PATH}/words")

    assert answer.status_code == 200
    assert not answer.headers.keys() & {name.lower() for name in names}


async def test_an_engine_is_shown_the_key_of_its_own_activation(gate: Rig, model: Engine) -> None:
    async with engine("second") as second:
        gate.engine_key = lambda there: f"key of {there.activation}"
        await gate.ask("GET", f"{PATH}/models")
        await serves(gate, second)
        await gate.ask("GET", f"{PATH}/models")

        for one in (model, second):
            assert one.asked[0].headers["authorization"] == f"Bearer key of activation-{one.name}"


async def test_the_namespace_is_not_passed_on_in_any_spelling(gate: Rig, model: Engine) -> None:
    await gate.ask("GET", f"{PATH}/models?%6eamespace=default&a=1&namespace=default")

    [asked] = model.asked
    assert asked.target == "/v1/models?a=1"


async def test_a_model_is_for_those_who_may_read(gate: Rig, model: Engine) -> None:
    writer = await gate.issue("jobs:write")
    stranger = await gate.issue("read", namespaces=("elsewhere",))

    assert problem(await gate.ask("GET", f"{PATH}/models", "")) == "unauthenticated"
    assert problem(await gate.ask("GET", f"{PATH}/models", writer)) == "forbidden_scope"
    assert problem(await gate.ask("GET", f"{PATH}/models", stranger)) == "forbidden_namespace"
    assert model.asked == []


async def test_a_slot_of_another_namespace_is_another_slot(gate: Rig, model: Engine) -> None:
    answer = await gate.ask("GET", f"{PATH}/models?namespace=team")

    assert problem(answer) == "not_serving"


async def test_a_slot_that_serves_nothing_says_so(gate: Rig) -> None:
    answer = await gate.ask("POST", f"{PATH}/completions", json={})

    assert (answer.status_code, problem(answer)) == (503, "not_serving")
    assert int(answer.headers["retry-after"]) > 0
    assert "runtime status" in answer.json()["remedy"]


async def test_a_slot_that_was_emptied_says_so(gate: Rig, model: Engine) -> None:
    await serves(gate, None)

    assert problem(await gate.ask("GET", f"{PATH}/models")) == "not_serving"


async def test_an_answer_comes_part_by_part(gate: Rig, model: Engine) -> None:
    async with gate.client.stream("POST", f"{PATH}/stream", headers=bearer(gate)) as answer:
        parts = answer.aiter_raw()

        assert answer.headers["content-type"] == "text/event-stream"
        assert await anext(parts) == b"data: first 1\n\n"
        model.go.set()
        assert await anext(parts) == b"data: 2\n\n"
        assert [part async for part in parts] == []


def bearer(gate: Rig) -> dict[str, str]:
    return {"Authorization": f"Bearer {gate.admin}"}


async def test_a_body_comes_part_by_part(gate: Rig, model: Engine) -> None:
    arrived = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"a" * 1000
        await arrived.wait()
        yield b"b" * 1000

    async def halfway() -> bool:
        return model.arriving == 1000

    asking = asyncio.create_task(gate.ask("POST", f"{PATH}/files", content=body()))
    await eventually(halfway)
    arrived.set()

    assert (await asking).json()["length"] == 2000


async def test_a_body_may_be_larger_than_elsewhere(gate: Rig, model: Engine) -> None:
    content = b"0123456789abcdef" * (5 * MIB // 16)

    answer = await gate.ask("POST", f"{PATH}/files", content=content)

    assert answer.json()["digest"] == sha256(content).hexdigest()


async def test_a_body_that_says_it_is_too_large_is_refused_at_once(
    gate: Rig, model: Engine
) -> None:
    assert await raw_status(gate, f"{PATH}/files", length=64 * MIB + 1) == 413
    assert model.asked == []


async def test_a_body_that_grows_too_large_is_refused(gate: Rig, model: Engine) -> None:
    part = bytes(MIB)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(65):
            yield part

    answer = await gate.ask("POST", f"{PATH}/files", content=body())

    assert (answer.status_code, problem(answer)) == (413, "too_large")
    assert model.asked == []


async def test_an_engine_may_answer_before_it_has_heard_all(gate: Rig, model: Engine) -> None:
    answer = await gate.ask("POST", f"{PATH}/early", content=bytes(8 * MIB))

    assert (answer.status_code, answer.text) == (413, "big")


async def test_an_answer_without_a_length_ends_with_the_connection(
    gate: Rig, model: Engine
) -> None:
    answer = await gate.ask("GET", f"{PATH}/unmeasured")

    assert (answer.status_code, answer.text) == (200, "as long as it takes")


@pytest.mark.parametrize("path", ["dies", "short"])
async def test_an_answer_that_breaks_off_does_not_look_whole(
    gate: Rig, model: Engine, path: str
) -> None:
    model.go.set()

    with pytest.raises(httpx.RemoteProtocolError):
        await gate.ask("GET", f"{PATH}/{path}")


@pytest.mark.parametrize("path", ["silent", "nonsense"])
async def test_an_engine_that_does_not_answer_has_failed(
    gate: Rig, model: Engine, path: str
) -> None:
    model.go.set()

    answer = await gate.ask("POST", f"{PATH}/{path}", content=b"x")

    assert (answer.status_code, problem(answer)) == (502, "engine_failed")


async def test_what_an_engine_that_left_never_answered_goes_to_the_next(
    gate: Rig, model: Engine
) -> None:
    async with engine("second") as second:
        second.go.set()
        asking = asyncio.create_task(gate.ask("POST", f"{PATH}/silent", content=b"x" * 1000))

        async def waiting() -> bool:
            return len(model.asked) == 1

        await eventually(waiting)
        await serves(gate, second)
        model.go.set()
        await asking

        assert [asked.body for asked in second.asked] == [b"x" * 1000]


@pytest.fixture
def refusals(gate: Rig, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Awaitable[None]]:
    """Waits until connections of a request were refused: after each, the gateway looks again where
    the slot answers."""
    looks, look = 0, gate.live.endpoint

    async def endpoint(namespace: str, slot: str) -> Endpoint | None:
        nonlocal looks
        looks += 1
        return await look(namespace, slot)

    async def several() -> bool:
        return looks > 2

    monkeypatch.setattr(gate.live, "endpoint", endpoint)
    return partial(eventually, several)


async def test_a_refused_connection_is_tried_again(
    gate: Rig, model: Engine, refusals: Callable[[], Awaitable[None]]
) -> None:
    model.refuse()
    asking = asyncio.create_task(gate.ask("POST", f"{PATH}/completions", content=b"x" * 1000))
    await refusals()
    await model.listen()

    assert (await asking).json()["length"] == 1000


async def test_whoever_comes_in_the_place_of_one_who_refuses_is_asked(
    gate: Rig, model: Engine, refusals: Callable[[], Awaitable[None]]
) -> None:
    model.refuse()
    asking = asyncio.create_task(gate.ask("GET", f"{PATH}/models"))
    await refusals()
    async with engine("second") as second:
        await serves(gate, second)

        assert (await asking).json()["engine"] == "second"


async def test_nobody_is_asked_for_a_client_that_has_left(gate: Rig, model: Engine) -> None:
    asking = asyncio.create_task(gate.ask("POST", f"{PATH}/hangs", json={}))

    async def asked() -> bool:
        return len(model.asked) == 1

    await eventually(asked)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    await model.idle()
    assert len(model.asked) == 1


async def test_a_stream_that_its_client_leaves_ends_at_the_engine(gate: Rig, model: Engine) -> None:
    async with gate.client.stream("POST", f"{PATH}/stream", headers=bearer(gate)) as answer:
        await anext(answer.aiter_raw())

    model.go.set()
    await model.idle()


async def test_no_connection_stays_open_after_an_answer(gate: Rig, model: Engine) -> None:
    await asyncio.gather(*(gate.ask("GET", f"{PATH}/models") for _ in range(20)))

    await model.idle()
    assert len(model.asked) == 20


async def test_a_revoked_token_ends_what_it_began(gate: Rig, model: Engine) -> None:
    reader = await gate.issue("read")
    headers = {"Authorization": f"Bearer {reader}"}
    async with gate.client.stream("POST", f"{PATH}/stream", headers=headers) as answer:
        parts = answer.aiter_raw()
        await anext(parts)
        await gate.say(RevokeToken(reader.split("_")[1]), "system")

        with pytest.raises(httpx.RemoteProtocolError):
            await anext(parts)
    assert not model.go.is_set()


async def test_a_gateway_that_stops_cuts_answers_off(gate: Rig, model: Engine) -> None:
    async with gate.client.stream("POST", f"{PATH}/stream", headers=bearer(gate)) as answer:
        parts = answer.aiter_raw()
        await anext(parts)
        gate.app.state.connections.end_all()

        with pytest.raises(httpx.RemoteProtocolError):
            await anext(parts)


async def test_a_gateway_that_stops_says_so_to_those_who_wait(gate: Rig, model: Engine) -> None:
    asking = asyncio.create_task(gate.ask("POST", f"{PATH}/silent", content=b"x"))

    async def waiting() -> bool:
        return len(model.asked) == 1

    await eventually(waiting)
    gate.app.state.connections.end_all()

    assert problem(await asking) == "not_serving"


async def test_models_switch_without_a_failed_request(gate: Rig) -> None:
    """Fifty requests a second, while one engine after the other takes over."""
    answers: list[tuple[int, str]] = []
    running = True

    async def ask() -> None:
        while running:
            answer = await gate.ask("POST", f"{PATH}/completions", json={"prompt": "x" * 100})
            answers.append((answer.status_code, answer.json()["engine"]))
            await asyncio.sleep(0.2)

    async with engine("one") as one, engine("two") as two, engine("three") as three:
        await serves(gate, one)
        asking = [asyncio.create_task(ask()) for _ in range(10)]
        for old, new in ((one, two), (two, three)):
            await more(answers)
            await serves(gate, new)
            old.refuse()
            await old.idle()
        begun = len(answers)
        await more(answers)
        running = False
        await asyncio.gather(*asking)

    assert {status for status, _ in answers} == {200}
    assert {name for _, name in answers} == {"one", "two", "three"}
    assert {name for _, name in answers[begun + 10 :]} == {"three"}


async def more(answers: Sized) -> None:
    """Wait until twenty more are there."""
    enough = len(answers) + 20

    async def there() -> bool:
        return len(answers) >= enough

    await eventually(there)


class Sleepy:
    """Where slots answer, as a log tells that can be away."""

    def __init__(self, endpoint: Endpoint | None) -> None:
        self.known = endpoint
        self.away = False

    async def __call__(self, namespace: str, slot: str) -> Endpoint | None:
        if self.away:
            raise LogUnavailable("asleep")
        return self.known


async def test_while_the_log_is_away_slots_answer_where_they_did() -> None:
    endpoint = Endpoint("default", "active-llm", "a", "m", "http://x", datetime.now(UTC))
    log, whereabouts = Sleepy(endpoint), Whereabouts()
    assert await whereabouts.find(log, "default", "active-llm") == endpoint
    log.away = True

    assert await whereabouts.find(log, "default", "active-llm") == endpoint
    with pytest.raises(NotServing):
        await whereabouts.find(log, "default", "other")


async def test_what_stopped_serving_is_not_remembered() -> None:
    endpoint = Endpoint("default", "active-llm", "a", "m", "http://x", datetime.now(UTC))
    log, whereabouts = Sleepy(endpoint), Whereabouts()
    await whereabouts.find(log, "default", "active-llm")
    log.known = msgspec.structs.replace(endpoint, url="")
    with pytest.raises(NotServing):
        await whereabouts.find(log, "default", "active-llm")
    log.away = True

    with pytest.raises(NotServing):
        await whereabouts.find(log, "default", "active-llm")


async def test_what_nothing_was_said_of_for_long_answers_where_it_did() -> None:
    endpoint = Endpoint("default", "active-llm", "a", "m", "http://x", datetime.now(UTC))
    log, whereabouts = Sleepy(endpoint), Whereabouts()
    await whereabouts.find(log, "default", "active-llm")
    log.known = None

    assert await whereabouts.find(log, "default", "active-llm") == endpoint


async def test_an_idempotency_key_is_passed_on_and_not_looked_at(gate: Rig, model: Engine) -> None:
    for _ in range(2):
        answer = await gate.ask(
            "POST", f"{PATH}/completions", json={"prompt": "x"}, headers={"Idempotency-Key": "one"}
        )
        assert answer.status_code == 200

    assert len(model.asked) == 2
