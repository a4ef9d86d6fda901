from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from schemas.api.tokens import TokenRow
from schemas.bearer import token_id_and_hash
from tests.cli.fake_gateway import NOW, FakeGateway
from tests.cli.support import CommandLine

VALID = TokenRow(
    id="t1",
    name="ci",
    scopes=("read", "jobs:write"),
    namespaces=("team",),
    status="valid",
    issued_at=NOW,
    issued_by="token/root",
    updated_at=NOW,
    position=3,
)


def test_tokens_are_listed_without_their_secrets(gateway: FakeGateway, mllm: CommandLine) -> None:
    gone = datetime.now(UTC) - timedelta(days=1)
    gateway.tokens = [
        VALID,
        msgspec.structs.replace(VALID, id="t2", expires_at=gone),
        msgspec.structs.replace(VALID, id="t3", status="revoked"),
    ]

    lines = mllm("tokens", "list").out.splitlines()

    assert [line.split()[:3] for line in lines[1:]] == [
        ["t1", "ci", "valid"],
        ["t2", "ci", "expired"],
        ["t3", "ci", "revoked"],
    ]
    assert "read,jobs:write" in lines[1]


def test_an_issued_token_is_all_there_is_on_stdout(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("tokens", "issue", "ci", "--scope", "read", "--scope", "jobs:write",
                   "--in", "a", "--in", "b", "--expires-in", "30d")  # fmt: skip

    assert outcome.out == "mllm_t9_new\n"
    assert "not shown again" in outcome.err
    assert msgspec.json.decode(gateway.last().body) == {
        "name": "ci",
        "scopes": ["read", "jobs:write"],
        "namespaces": ["a", "b"],
        "expiresIn": 30 * 86400,
    }


def test_a_token_is_for_the_present_namespace_unless_said_otherwise(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    mllm("tokens", "issue", "ci", "--scope", "read", "-n", "team")

    assert msgspec.json.decode(gateway.last().body)["namespaces"] == ["team"]


def test_a_scope_that_is_none_is_misuse(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("tokens", "issue", "ci", "--scope", "reed")

    assert outcome.code == 2
    assert "secrets:write" in outcome.err


def test_a_secret_that_was_lost_on_its_way_can_be_made_anew(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    gateway.replay_without_secret = True

    outcome = mllm("tokens", "issue", "ci", "--scope", "read")

    assert outcome.code == 1
    assert outcome.out == ""
    assert "mllm tokens rotate t9" in outcome.err


@pytest.mark.parametrize(
    "named", ["t1", "token/t1", "mllm_t1_s3cret", "mllm_t1_s_3_-", "token/mllm_t1_s"]
)
def test_a_token_is_named_by_its_id_and_its_secret_is_never_sent(
    gateway: FakeGateway, mllm: CommandLine, named: str
) -> None:
    outcome = mllm("tokens", "rotate", named)

    assert outcome.out == "mllm_t1_newer\n"
    assert gateway.last().path == "/tokens/t1/rotate"


@pytest.mark.parametrize(
    "secret", ["0123456789abcdef" * 4, "the-operators/own+words=", "mllm_s3cret-of-the-operator"]
)
def test_a_token_of_an_operators_own_making_is_named_by_its_id_too(
    gateway: FakeGateway, mllm: CommandLine, secret: str
) -> None:
    id = token_id_and_hash(secret)[0]

    outcome = mllm("tokens", "revoke", secret, "--yes")

    assert outcome.err == f"token {id} is revoked\n"
    assert gateway.last().path == f"/tokens/{id}"


@pytest.mark.parametrize(
    "named", ["01JD0000000000000000000001", "b" + "0f" * 20, "token/administratorOfTheTeam"]
)
def test_an_id_is_no_secret(gateway: FakeGateway, mllm: CommandLine, named: str) -> None:
    mllm("tokens", "revoke", named, "--yes")

    assert gateway.last().path == f"/tokens/{named.removeprefix('token/')}"


def test_revoking_says_that_it_is_done(gateway: FakeGateway, mllm: CommandLine) -> None:
    outcome = mllm("tokens", "revoke", "t1", "--yes")

    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == "token t1 is revoked\n"
    assert (gateway.last().method, gateway.last().path) == ("DELETE", "/tokens/t1")


def test_revoking_is_not_done_unasked_where_nobody_is_there(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    outcome = mllm("tokens", "revoke", "t1")

    assert outcome.code == 2
    assert gateway.seen == []
