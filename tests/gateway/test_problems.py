"""Refusals: every one a whole problem with a stable code, none with a surprise."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from ulid import ULID

from gateway.telemetry import add_request_id
from tests.gateway.rig import Rig, gateway, problem
from tests.servers import Server
from tests.support import eventually

JSON = {"Content-Type": "application/json"}
LONG = "9" * 400


BAD_REQUESTS = [
    ("GET", "/nowhere", 404, "not_found"),
    ("GET", "/jobs/no-ulid", 404, "not_found"),
    ("POST", "/jobs/no-ulid/cancel", 404, "not_found"),
    ("GET", f"/jobs/{ULID()}%0A", 404, "not_found"),
    ("GET", "/jobs/%00", 404, "not_found"),
    ("GET", "/jobs/..%2F..%2Fetc", 404, "not_found"),
    ("GET", "/weights/info", 400, "invalid"),
    ("GET", "/weights/info?name=%00", 400, "invalid"),
    ("GET", "/weights/info?name=a/../b", 400, "invalid"),
    ("GET", "/jobs?limit=0", 400, "invalid"),
    ("GET", f"/jobs?limit={LONG}", 400, "invalid"),
    ("GET", "/jobs?limit=1&limit=2", 400, "invalid"),
    ("GET", "/jobs?min_sequence=null", 400, "invalid"),
    ("GET", "/jobs?type=null", 400, "invalid"),
    ("GET", "/jobs?type=install&type=verify", 400, "invalid"),
    ("GET", "/jobs?model=null", 503, "read_models_unavailable"),
    ("GET", "/jobs?cursor=%00", 400, "invalid"),
    ("GET", "/jobs?status=done", 400, "invalid"),
    ("GET", "/jobs?model=%00", 400, "invalid"),
    ("GET", "/jobs?as_of=yesterday", 400, "invalid"),
    ("GET", "/jobs?as_of=2026-01-01T00:00", 400, "invalid"),
    ("GET", f"/jobs?min_sequence={LONG}", 400, "invalid"),
    ("GET", "/jobs?min_sequence=99999999", 422, "sequence_beyond_log"),
    ("GET", "/jobs?as_of=seq:99999999", 422, "sequence_beyond_log"),
    ("GET", "/jobs?as_of=9999999999999999999", 400, "invalid"),
    ("GET", "/jobs", 503, "read_models_unavailable"),
    ("GET", "/jobs?namespace=UPPER", 400, "invalid"),
    ("GET", "/jobs?namespace=%00", 400, "invalid"),
    ("GET", "/events?after=x", 400, "invalid"),
    ("GET", "/events?tail=-1", 400, "invalid"),
    ("GET", "/events/log?before_time=x", 400, "invalid"),
    ("POST", f"/jobs/{ULID()}/priority", 415, "unsupported_media_type"),
    ("DELETE", "/tokens/unknown", 404, "not_found"),
    ("DELETE", "/secrets/unknown", 404, "not_found"),
    ("DELETE", "/secrets/Bad%20Name", 404, "not_found"),
]
BAD_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'{"hfModelId": 1}',
    b'{"hfModelId": "org/model", "surprise": 1}',
    b'{"hfModelId": "org/model", "overwrite": "true"}',
    b'{"hfModelId": "org/model", "priority": "1"}',
    b'{"hfModelId": "org/model", "priority": 7}',
    b'{"hfModelId": "org/model", "target": "../up"}',
    b'{"hfModelId": "org/model", "target": "a/b/c"}',
    b'{"hfModelId": "org/model\\n"}',
    b'{"hfModelId": "\\u0000"}',
    b'{"hfModelId": "\xff"}',
    b'{"hfModelId": "\\ud800"}',
    b'{"hfModelId": ' + b"[" * 100_000,
    b"[" * 1000,
]


async def test_a_bad_request_is_told_what_is_wrong(gate: Rig) -> None:
    for method, path, status, code in BAD_REQUESTS:
        answer = await gate.ask(method, path, headers={"Content-Type": "text/plain"})

        assert (answer.status_code, problem(answer)) == (status, code), path


async def test_a_bad_body_is_refused(gate: Rig) -> None:
    for body in BAD_BODIES:
        answer = await gate.ask("POST", "/weights/install", content=body, headers=JSON)

        assert (answer.status_code, problem(answer)) == (400, "invalid"), body


async def test_what_is_wrong_in_a_body_is_named(gate: Rig) -> None:
    install = {"hfModelId": "org/model"}
    for body, error in (
        ({**install, "priority": 7}, "priority: Invalid enum value 7"),
        ({**install, "target": "../x"}, "target: is malformed"),
        ({**install, "include": ["*", "\n"]}, "include[1]: is malformed"),
        ({**install, "hfModelid": "x"}, "Object contains unknown field `hfModelid`"),
    ):
        answer = await gate.ask("POST", "/weights/install", json=body)

        assert answer.json()["errors"] == [error]


async def test_a_body_beyond_a_mebibyte_is_too_large(gate: Rig) -> None:
    body = b'{"hfModelId": "' + b"x" * (1 << 20) + b'"}'
    answer = await gate.ask("POST", "/weights/install", content=body, headers=JSON)

    assert (answer.status_code, problem(answer)) == (413, "too_large")


async def test_a_body_has_to_be_json(gate: Rig) -> None:
    answer = await gate.ask("POST", "/weights/install", data={"hfModelId": "org/model"})

    assert (answer.status_code, problem(answer)) == (415, "unsupported_media_type")


async def test_a_method_that_a_route_does_not_take_is_refused_with_those_it_does(
    gate: Rig,
) -> None:
    answer = await gate.ask("PATCH", "/jobs")

    assert (answer.status_code, problem(answer)) == (405, "method_not_allowed")
    assert {"GET", "HEAD"} <= set(answer.headers["allow"].split(", "))


async def test_options_name_every_method_that_a_route_takes(gate: Rig) -> None:
    for path, methods in (
        ("/jobs", "GET, HEAD, OPTIONS"),
        ("/tokens", "GET, HEAD, OPTIONS, POST"),
        ("/models/small", "DELETE, GET, HEAD, OPTIONS, PUT"),
    ):
        answer = await gate.ask("OPTIONS", path)
        refused = await gate.ask("PATCH", path)
        assert (answer.status_code, answer.headers["allow"]) == (204, methods)
        assert (refused.status_code, refused.headers["allow"]) == (405, methods)


async def test_a_bad_parameter_is_named_as_the_request_names_it(gate: Rig) -> None:
    bad = {
        "/jobs?type=bogus": "type",
        "/events?type=" + "&type=".join(["job.*"] * 101): "type",
        "/weights/info": "name",
        "/models/chat/compatibility": "gpuType",
        "/models/chat/compatibility?gpuType=%2B": "gpuType",
        "/recommendations/l4?kvCacheDtype=x": "kvCacheDtype",
        "/jobs?min_sequence=x": "min_sequence",
    }
    for path, name in bad.items():
        answer = await gate.ask("GET", path)
        assert problem(answer) == "invalid"
        assert [error.partition(":")[0] for error in answer.json()["errors"]] == [name], path


async def test_what_can_not_be_called_that_is_not_made_either(gate: Rig) -> None:
    answer = await gate.ask("PUT", "/secrets/Bad%20Name", json={"value": "x"})

    assert (answer.status_code, problem(answer)) == (400, "invalid")


async def test_a_bad_header_is_named_as_the_request_names_it(gate: Rig) -> None:
    for path, name in (("/jobs", "X-Min-Sequence"), ("/events", "Last-Event-ID")):
        answer = await gate.ask("GET", path, headers={name: "x"})
        assert [error.partition(":")[0] for error in answer.json()["errors"]] == [name]


async def test_an_unknown_parameter_is_refused_with_the_nearest_known(gate: Rig) -> None:
    answer = await gate.ask("GET", "/jobs?stauts=running")

    assert (answer.status_code, problem(answer)) == (400, "unknown_parameter")
    assert answer.json()["detail"] == "there is no parameter 'stauts' here; did you mean status?"


async def test_a_request_id_is_taken_if_it_can_be_one(gate: Rig) -> None:
    good = await gate.ask("GET", "/nowhere", headers={"X-Request-Id": "abc.DEF-1"})
    bad = await gate.ask("GET", "/nowhere", headers={"X-Request-Id": "two words"})

    assert good.json()["requestId"] == good.headers["x-request-id"] == "abc.DEF-1"
    assert ULID.from_str(bad.headers["x-request-id"])


async def test_what_nobody_expected_is_logged_and_not_shown(
    gate: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(add_request_id)
    gate.plans.refusal = RuntimeError("the password is hunter2")  # type: ignore[assignment]

    answer = await gate.ask("POST", "/weights/plan", json={"hfModelId": "org/model"})

    assert (answer.status_code, problem(answer)) == (500, "internal")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert "hunter2" in caplog.text
    [said] = [vars(record) for record in caplog.records if record.name == "gateway.problems"]
    assert said["request_id"] == answer.headers["x-request-id"]


async def test_a_log_that_is_away_is_said_so(
    private_nats: Callable[[], Awaitable[Server]], tmp_path: Path
) -> None:
    server = await private_nats()
    async with gateway(server.url, "", tmp_path, patience=5) as rig:
        await rig.ask("GET", "/system/info")
        server.kill()

        install, unknown, ready = await asyncio.gather(
            rig.ask("POST", "/weights/install", json={"hfModelId": "org/model"}),
            rig.ask("GET", "/system/info", "mllm_unknown_token"),
            rig.ask("GET", "/readyz", ""),
        )
        await server.start()

        async def back() -> bool:
            return (await rig.ask("GET", "/system/info")).status_code == 200

        await eventually(back)

    for answer in (install, unknown):
        assert (answer.status_code, problem(answer)) == (503, "log_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert ready.status_code == 503
    assert {"name": "nats", "ok": False, "detail": "does not answer"} in ready.json()["parts"]


async def test_every_request_leaves_one_line_without_its_query(
    gate: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "gateway.access"):
        answer = await gate.ask("GET", "/nowhere?token=mllm_secret", "mllm_other_secret")

    [said] = [vars(record) for record in caplog.records if record.name == "gateway.access"]
    assert said["request_id"] == answer.headers["x-request-id"]
    assert (said["method"], said["path"], said["status"]) == ("GET", "/nowhere", 404)
    assert "secret" not in str(said)
