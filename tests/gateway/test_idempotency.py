"""Writes that are sent twice."""

import asyncio

from tests.gateway.rig import Rig, problem

INSTALL = "/weights/install"
KEY = {"Idempotency-Key": "k1"}


async def test_the_same_key_brings_the_same_answer(gate: Rig) -> None:
    body = {"hfModelId": "org/model"}
    first = await gate.ask("POST", INSTALL, json=body, headers=KEY)
    end = await gate.log.end()
    await gate.ask("POST", f"/jobs/{first.json()['job']['id']}/pause")

    second = await gate.ask("POST", INSTALL, json=body, headers=KEY)

    assert second.status_code == 202
    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await gate.log.end() == end + 1


async def test_the_same_key_at_once_is_one_write(gate: Rig) -> None:
    body = {"name": "n", "scopes": ["read"]}
    asked = [gate.ask("POST", "/tokens", json=body, headers=KEY) for _ in range(5)]

    answers = await asyncio.gather(*asked)

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(answer.json()["token"] is not None for answer in answers) == 1


async def test_the_same_key_with_another_request_is_refused(gate: Rig) -> None:
    body = {"hfModelId": "org/model"}
    await gate.ask("POST", INSTALL, json=body, headers=KEY)

    for path, other in (
        (INSTALL, {"hfModelId": "org/other"}),
        (f"{INSTALL}?namespace=default", body),
        ("/weights/plan", body),
    ):
        answer = await gate.ask("POST", path, json=other, headers=KEY)
        assert (answer.status_code, problem(answer)) == (422, "idempotency_mismatch")


async def test_a_key_is_its_tokens_and_its_namespaces_own(gate: Rig) -> None:
    other = await gate.issue("jobs:write", namespaces=("*",))
    body = {"hfModelId": "org/model"}
    await gate.ask("POST", INSTALL, json=body, headers=KEY)

    await gate.ask("POST", INSTALL, other, json={"hfModelId": "org/b"}, headers=KEY)
    elsewhere = await gate.ask("POST", f"{INSTALL}?namespace=tenant", json=body, headers=KEY)

    assert elsewhere.status_code == 202
    assert elsewhere.json()["job"]["namespace"] == "tenant"
    assert "idempotency-replayed" not in elsewhere.headers


async def test_a_refused_write_may_be_granted_under_the_same_key_later(gate: Rig) -> None:
    body = {"name": "org/model"}
    refused = await gate.ask("POST", "/weights/verify", json=body, headers=KEY)
    assert problem(refused) == "not_found"

    again = await gate.ask("POST", "/weights/verify", json=body, headers=KEY)

    assert "idempotency-replayed" not in again.headers


async def test_a_write_cut_off_before_its_answer_was_kept_is_the_same_write_again(
    gate: Rig,
) -> None:
    body = {"name": "n", "scopes": ["read"]}
    gate.keys.killed = True
    first = await gate.ask("POST", "/tokens", json=body, headers=KEY)

    again = await gate.ask("POST", "/tokens", json=body, headers=KEY)

    assert again.status_code == 201
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["token"] is None


async def test_a_replayed_token_is_without_its_secret(gate: Rig) -> None:
    body = {"name": "n", "scopes": ["read"]}
    first = await gate.ask("POST", "/tokens", json=body, headers=KEY)

    again = await gate.ask("POST", "/tokens", json=body, headers=KEY)

    assert first.json()["token"].startswith(f"mllm_{first.json()['id']}_")
    assert again.json() == {**first.json(), "token": None}


async def test_a_deleted_secret_stays_deleted_once(gate: Rig) -> None:
    await gate.ask("PUT", "/secrets/hub", json={"value": "v"})

    for _ in range(2):
        answer = await gate.ask("DELETE", "/secrets/hub", headers=KEY)
        assert answer.status_code == 204
        assert answer.content == b""


async def test_a_key_that_can_not_be_one_is_refused(gate: Rig) -> None:
    for key in ("", "with space", "x" * 256):
        headers = {"Idempotency-Key": key}
        answer = await gate.ask("POST", INSTALL, json={"hfModelId": "org/model"}, headers=headers)
        assert (answer.status_code, problem(answer)) == (400, "invalid")
