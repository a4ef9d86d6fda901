"""Who may ask what. The route table is walked, so that no route can be forgotten."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from litestar import Litestar, get
from ulid import ULID

from commands.dispatch import Dispatcher
from commands.memory import MemoryLog
from gateway.admission import PUBLIC, handlers, refuse_unnamed
from gateway.auth import FRESH_SECONDS, GRACE_SECONDS, Authenticator
from schemas.bearer import token_id_and_hash
from schemas.log import Commit, LogUnavailable, Stream
from schemas.message import Context, Rejected
from schemas.token import IssueToken, RevokeToken, RotateToken, Scope
from tests.gateway.clock import Clock
from tests.gateway.rig import Rig, problem
from tests.gateway.sse import Message
from tests.support import PATIENCE

ROUTES = 65
"""About how many routes there are: a walk of fewer has missed some."""


SCOPES: Sequence[Scope] = ("read", "jobs:write", "runtime:write", "catalog:write")
NAMED = {
    "id": str(ULID()),
    "name": "some-name",
    "alias": "chat",
    "gpuType": "l40s",
    "job": str(ULID()),
    "architecture": "LlamaForCausalLM",
    "slot": "active-llm",
    "path": "models",
}
"""Something for each parameter of a path."""


def guarded(app: Litestar, but: str = "") -> Iterator[tuple[str, str]]:
    """Method and a path of every route that is not public, but those of one scope."""
    for path, method, handler in handlers(app):
        if path not in PUBLIC and handler.opt["scope"] != but:
            yield method, path.format(**NAMED)


async def refusals(
    gate: Rig, bearer: str, query: str = "", but: str = ""
) -> dict[tuple[str, str], str]:
    """What every guarded route, but those of one scope, answers to this bearer."""
    found: dict[tuple[str, str], str] = {}
    for method, path in guarded(gate.app, but):
        answer = await gate.ask(method, path + query, bearer)
        found[method, path] = f"{answer.status_code} {problem(answer)}"
        if answer.status_code == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert len(found) > (ROUTES - 10 if not but else 10)
    return found


async def test_without_a_token_every_route_is_closed(gate: Rig) -> None:
    assert set((await refusals(gate, "")).values()) == {"401 unauthenticated"}


async def test_an_unknown_token_opens_no_route(gate: Rig) -> None:
    for bearer in ("mllm_nobody_secret", "whatever", f"{gate.admin}x", "x" * 5000):
        assert set((await refusals(gate, bearer)).values()) == {"401 unauthenticated"}


async def test_an_expired_token_opens_no_route(gate: Rig) -> None:
    bearer = await gate.issue("admin", namespaces=("*",), expires_at=datetime.now(UTC))

    assert set((await refusals(gate, bearer)).values()) == {"401 token_expired"}


@pytest.mark.parametrize("path", ["/weights/plan", "/catalog/generate", "/vllm/model-info"])
async def test_who_only_reads_does_so_with_no_secret_of_others(gate: Rig, path: str) -> None:
    body = {"hfModelId": "org/model", "tokenSecret": "hub"}
    found: dict[Scope, bool] = {}
    for scope in (*SCOPES, "secrets:read"):
        answer = await gate.ask("POST", path, await gate.issue("read", scope), json=body)
        found[scope] = answer.json().get("code") != "forbidden_scope"

    assert found == {
        "read": False,
        "jobs:write": True,
        "runtime:write": False,
        "catalog:write": True,
        "secrets:read": True,
    }


async def test_a_revoked_token_opens_no_route(gate: Rig) -> None:
    bearer = await gate.issue("admin", namespaces=("*",))
    await gate.say(RevokeToken(token_id_and_hash(bearer)[0]), "system")

    assert set((await refusals(gate, bearer)).values()) == {"401 token_revoked"}


async def test_a_token_of_another_scope_opens_no_route(gate: Rig) -> None:
    for scope in SCOPES:
        bearer = await gate.issue(scope, namespaces=("*",))

        found = await refusals(gate, bearer, but=scope)

        assert set(found.values()) == {"403 forbidden_scope"}, scope


async def test_a_token_of_another_namespace_opens_no_route(gate: Rig) -> None:
    bearer = await gate.issue("admin", namespaces=("other",))

    assert set((await refusals(gate, bearer)).values()) == {"403 forbidden_namespace"}
    found = await refusals(gate, bearer, "?namespace=another")
    assert set(found.values()) == {"403 forbidden_namespace"}


async def test_no_route_is_about_the_namespace_of_what_belongs_to_no_tenant(gate: Rig) -> None:
    bearer = await gate.issue("admin", namespaces=("default", "other"))

    found = await refusals(gate, bearer, "?namespace=system")
    assert set(found.values()) == {"403 forbidden_namespace"}


async def test_public_routes_need_no_token(gate: Rig) -> None:
    for path in PUBLIC - {"/readyz"}:
        answer = await gate.ask("GET", path, "")
        assert answer.status_code == 200, path


async def test_an_application_with_a_route_that_names_no_scope_does_not_start() -> None:
    @get("/secret-door")
    async def door() -> None: ...

    with pytest.raises(RuntimeError, match="GET /secret-door names no scope"):
        refuse_unnamed(Litestar([door], openapi_config=None, logging_config=None))


async def test_a_namespace_may_be_named_in_a_header(gate: Rig) -> None:
    bearer = await gate.issue("read", namespaces=("tenant",))
    headers = {"X-Mllm-Namespace": "tenant"}

    info = await gate.ask("GET", "/system/info", bearer, headers=headers)

    assert info.json()["namespace"] == "tenant"
    assert info.json()["scopes"] == ["read"]
    assert info.json()["actor"] == f"token/{token_id_and_hash(bearer)[0]}"


async def test_only_a_token_for_all_namespaces_may_ask_about_all(gate: Rig) -> None:
    some = await gate.issue("read", namespaces=("default", "other"))
    every = await gate.issue("read", namespaces=("*",))

    refused = await gate.ask("GET", "/system/info?namespace=*", some)
    granted = await gate.ask("GET", "/system/info?namespace=*", every)

    assert problem(refused) == "forbidden_namespace"
    assert granted.json()["namespace"] == "*"


async def test_a_write_is_about_one_namespace(gate: Rig) -> None:
    answer = await gate.ask("POST", "/weights/verify?namespace=*", json={"name": "m"})

    assert answer.status_code == 400
    assert problem(answer) == "invalid"


async def test_an_operators_own_token_is_known_by_its_hash(gate: Rig) -> None:
    token, hash = token_id_and_hash("the operator's own words")
    command = IssueToken(token, "operator", hash, ("read",), ("default",))
    await gate.say(command, "system")

    answer = await gate.ask("GET", "/system/info", "the operator's own words")

    assert answer.json()["actor"] == f"token/{token}"


async def test_a_revocation_holds_as_soon_as_anybody_hears_of_it(gate: Rig) -> None:
    bearer = await gate.issue("read")
    assert (await gate.ask("GET", "/system/info", bearer)).status_code == 200
    async with gate.stream("namespace=system&type=token.revoked") as heard:
        assert (await anext(heard)).comment == "listening"
        await gate.say(RevokeToken(token_id_and_hash(bearer)[0]), "system")
        await first(heard)

        assert (await gate.ask("GET", "/system/info", bearer)).status_code == 401


async def first(messages: AsyncIterator[Message]) -> Message:
    """The first that is not a comment."""
    async with asyncio.timeout(PATIENCE):
        while not (message := await anext(messages)).type:
            pass
    return message


async def test_a_rotated_token_opens_with_its_new_secret_only(gate: Rig) -> None:
    bearer = await gate.issue("read")
    token = token_id_and_hash(bearer)[0]
    answer = await gate.ask("POST", f"/tokens/{token}/rotate")
    assert answer.status_code == 200, answer.text

    assert problem(await gate.ask("GET", "/system/info", bearer)) == "unauthenticated"
    fresh = await gate.ask("GET", "/system/info", answer.json()["token"])
    assert fresh.status_code == 200


async def test_a_revocation_ends_the_streams_of_its_token(gate: Rig) -> None:
    bearer = await gate.issue("read")
    async with gate.stream(bearer=bearer) as stream:
        assert (await anext(stream)).comment == "listening"
        await gate.say(RevokeToken(token_id_and_hash(bearer)[0]), "system")

        assert [message async for message in stream] == []  # it ends before the first ping


async def test_a_stream_ends_when_its_token_expires(
    gate: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    bearer = await gate.issue("read", expires_at=datetime.now(UTC) + timedelta(hours=1))
    async with gate.stream(bearer=bearer) as stream:
        assert (await anext(stream)).comment == "listening"
        clock.ahead = 3600

        assert [message async for message in stream] == []  # it ends before the first ping


async def test_a_token_that_was_unknown_is_known_once_it_is_issued(gate: Rig) -> None:
    token, hash = token_id_and_hash("mllm_late_secret")
    assert problem(await gate.ask("GET", "/system/info", "mllm_late_secret")) == "unauthenticated"
    async with gate.stream("namespace=system&type=token.issued") as heard:
        assert (await anext(heard)).comment == "listening"
        await gate.say(IssueToken(token, "late", hash, ("read",), ("default",)), "system")
        await first(heard)

        assert (await gate.ask("GET", "/system/info", "mllm_late_secret")).status_code == 200


def context() -> Context:
    return Context(command=str(ULID()), at=datetime.now(UTC), actor="t", namespace="system")


async def test_what_was_read_before_a_revocation_is_not_kept_after_it() -> None:
    log = MemoryLog()
    dispatch = Dispatcher(log)
    authenticator = Authenticator(log)
    token, hash = token_id_and_hash("bearer")
    await dispatch(IssueToken(token, "n", hash, ("read",), ("default",)), context())
    await authenticator.identify("bearer")
    revoked = await dispatch(RevokeToken(token), context())

    assert authenticator.hear(revoked.history) == [token, token]
    with pytest.raises(Rejected) as refusal:
        await authenticator.identify("bearer")
    assert refusal.value.code == "token_revoked"


class Sleepy(MemoryLog):
    """A log that can be away."""

    away = False

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        if self.away:
            raise LogUnavailable("asleep")
        return await super().load(stream, fresh=fresh)


async def test_a_token_that_is_known_is_honoured_for_a_while_without_the_log() -> None:
    log, now = Sleepy(), 0.0
    authenticator = Authenticator(log, lambda: now)
    token, hash = token_id_and_hash("bearer")
    await Dispatcher(log)(IssueToken(token, "n", hash, ("read",), ("default",)), context())
    await authenticator.identify("bearer")
    log.away = True

    now = FRESH_SECONDS + GRACE_SECONDS - 1
    assert (await authenticator.identify("bearer")).token == token
    with pytest.raises(LogUnavailable):
        await authenticator.identify("another")
    now += 1
    with pytest.raises(LogUnavailable):
        await authenticator.identify("bearer")
    log.away = False
    assert (await authenticator.identify("bearer")).token == token


async def test_a_rotation_keeps_what_a_token_may_do() -> None:
    log = MemoryLog()
    dispatch = Dispatcher(log)
    authenticator = Authenticator(log)
    token, hash = token_id_and_hash("mllm_t_1")
    await dispatch(IssueToken(token, "n", hash, ("read",), ("a",)), context())
    await dispatch(
        RotateToken(token, token_id_and_hash("mllm_t_2")[1], datetime.now(UTC)), context()
    )

    access = await authenticator.identify("mllm_t_2")

    assert access.has("read")
    assert access.enters("a")
    assert not access.has("jobs:write")
    assert not access.enters("b")
