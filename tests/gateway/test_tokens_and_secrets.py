"""Tokens and secrets over HTTP: what is secret is shown once, or never."""

import pytest

from schemas.bearer import token_id_and_hash
from schemas.log import Stream
from tests.gateway.rig import Rig, problem

BODY = {"name": "ci", "scopes": ["read", "jobs:write"], "expiresIn": 3600}


async def test_an_issued_token_works_and_its_secret_is_nowhere(
    gate: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    issued = await gate.ask("POST", "/tokens", json=BODY)
    assert issued.status_code == 201, issued.text
    bearer, id = issued.json()["token"], issued.json()["id"]

    assert token_id_and_hash(bearer)[0] == id
    info = (await gate.ask("GET", "/system/info", bearer)).json()
    assert info["scopes"] == ["jobs:write", "read"]
    secret = bearer.rpartition("_")[2]
    assert len(secret) == 64
    for commit in await gate.log.load(Stream("system", "token", id)):
        assert secret.encode() not in commit.data
    assert secret not in caplog.text
    assert issued.json()["expiresAt"]
    assert issued.json()["sequence"] == await gate.log.end()


async def test_nobody_gives_away_namespaces_they_have_not(gate: Rig) -> None:
    mine = await gate.issue("admin", namespaces=("default", "tenant"))

    good = await gate.ask("POST", "/tokens", mine, json={**BODY, "namespaces": ["tenant"]})
    bad = await gate.ask("POST", "/tokens", mine, json={**BODY, "namespaces": ["other"]})
    system = await gate.ask("POST", "/tokens", json={**BODY, "namespaces": ["system"]})

    assert good.status_code == 201
    assert (bad.status_code, problem(bad)) == (403, "forbidden_namespace")
    assert (system.status_code, problem(system)) == (403, "forbidden_namespace")


async def test_nobody_touches_tokens_for_namespaces_they_have_not(gate: Rig) -> None:
    mine = await gate.issue("admin", namespaces=("default",))
    theirs = token_id_and_hash(await gate.issue("read", namespaces=("default", "other")))[0]

    rotate = await gate.ask("POST", f"/tokens/{theirs}/rotate", mine)
    revoke = await gate.ask("DELETE", f"/tokens/{theirs}", mine)

    assert problem(rotate) == problem(revoke) == "not_found"


async def test_a_rotation_may_say_for_how_long(gate: Rig) -> None:
    token = token_id_and_hash(await gate.issue("read"))[0]

    endless = await gate.ask("POST", f"/tokens/{token}/rotate")
    ending = await gate.ask("POST", f"/tokens/{token}/rotate", json={"expiresIn": 60})

    assert endless.json()["expiresAt"] is None
    assert ending.json()["expiresAt"]


async def test_a_token_is_revoked_at_once_and_for_good(gate: Rig) -> None:
    bearer = await gate.issue("read")
    token = token_id_and_hash(bearer)[0]

    revoked = await gate.ask("DELETE", f"/tokens/{token}")
    refused = await gate.ask("GET", "/system/info", bearer)
    again = await gate.ask("DELETE", f"/tokens/{token}")
    rotated = await gate.ask("POST", f"/tokens/{token}/rotate")

    assert revoked.status_code == again.status_code == 200
    assert revoked.json()["id"] == token
    assert problem(refused) == "token_revoked"
    assert problem(rotated) == "conflict"


async def test_secrets_are_listed_by_name_and_never_shown(gate: Rig) -> None:
    for name in ("b", "a", "c"):
        answer = await gate.ask("PUT", f"/secrets/{name}", json={"value": f"hidden-{name}"})
        assert answer.status_code == 200
        assert "hidden" not in answer.text
    await gate.ask("PUT", "/secrets/other?namespace=tenant", json={"value": "v"})

    first = await gate.get("/secrets", limit=2)
    second = await gate.get("/secrets", limit=2, cursor=first["nextCursor"])

    assert [item["name"] for item in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["nextCursor"] is None
    assert await gate.secrets.get("default", "a") == "hidden-a"


async def test_a_secret_is_deleted_once(gate: Rig) -> None:
    await gate.ask("PUT", "/secrets/a", json={"value": "v"})

    gone = await gate.ask("DELETE", "/secrets/a")
    again = await gate.ask("DELETE", "/secrets/a")

    assert gone.status_code == 204
    assert (again.status_code, problem(again)) == (404, "not_found")


async def test_who_may_read_names_may_not_write_values(gate: Rig) -> None:
    reader = await gate.issue("secrets:read")
    writer = await gate.issue("secrets:write")

    assert (await gate.ask("GET", "/secrets", reader)).status_code == 200
    put = await gate.ask("PUT", "/secrets/a", reader, json={"value": "v"})
    assert problem(put) == "forbidden_scope"
    assert (await gate.ask("PUT", "/secrets/a", writer, json={"value": "v"})).status_code == 200
    assert problem(await gate.ask("GET", "/secrets", writer)) == "forbidden_scope"
