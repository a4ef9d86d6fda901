"""What may become of an access token."""

from datetime import UTC, datetime, timedelta

from commands.token import decider
from schemas.token import (
    IssueToken,
    RevokeToken,
    RotateToken,
    TokenIssued,
    TokenRevoked,
    TokenRotated,
)
from tests.given import Given

given = Given(decider)
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ISSUED = TokenIssued("t1", "ci", "h1", ("read",), ("default",), NOW + DAY)
LASTING = TokenIssued("t1", "ci", "h1", ("read",), ("default",))


def test_a_token_is_issued_once() -> None:
    issue = IssueToken("t1", "ci", "h1", ("read",), ("default",), NOW + DAY)
    given().when(issue).then(ISSUED)
    given(ISSUED).when(issue).then_rejected("conflict")


def test_rotating_replaces_the_secret() -> None:
    given(LASTING).when(RotateToken("t1", "h2", NOW)).then(TokenRotated("t1", "h2"))
    given(LASTING).when(RotateToken("t1", "h2", NOW, NOW + DAY)).then(
        TokenRotated("t1", "h2", NOW + DAY)
    )


def test_rotating_does_not_make_a_token_last_longer_unless_asked() -> None:
    given(ISSUED).when(RotateToken("t1", "h2", NOW)).then(TokenRotated("t1", "h2", NOW + DAY))
    given(ISSUED).when(RotateToken("t1", "h2", NOW, NOW + 2 * DAY)).then(
        TokenRotated("t1", "h2", NOW + 2 * DAY)
    )


def test_an_expired_token_is_not_rotated() -> None:
    given(ISSUED).when(RotateToken("t1", "h2", NOW + DAY)).then_rejected("conflict")
    rotated = given(ISSUED, TokenRotated("t1", "h2", NOW + 2 * DAY))
    rotated.when(RotateToken("t1", "h3", NOW + DAY)).then(TokenRotated("t1", "h3", NOW + 2 * DAY))


def test_a_revoked_token_stays_revoked() -> None:
    revoked = given(ISSUED).when(RevokeToken("t1"))
    revoked.then(TokenRevoked("t1"))
    revoked.and_then().when(RevokeToken("t1")).then_nothing()
    revoked.and_then().when(RotateToken("t1", "h2", NOW)).then_rejected("conflict")
    revoked.and_then().when(IssueToken("t1", "ci", "h1", ("read",), ("default",))).then_rejected(
        "conflict"
    )


def test_a_token_that_never_was_is_neither_rotated_nor_revoked() -> None:
    given().when(RotateToken("t1", "h2", NOW)).then_rejected("not_found")
    given().when(RevokeToken("t1")).then_rejected("not_found")
