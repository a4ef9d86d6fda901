"""Who is asking: bearer tokens, verified against their own history in the log.

What was found out is kept in memory and dropped the moment the log says otherwise, so that a
revocation holds at once, or within two minutes where the log can not be heard, and a read model
that lags can not let anyone in.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from secrets import compare_digest
from typing import TypeVar

import msgspec

from schemas.bearer import token_id_and_hash
from schemas.log import Commit, EventLog, LogUnavailable, Stream
from schemas.message import Rejected
from schemas.names import ALL, SYSTEM
from schemas.token import AGGREGATE, Scope, TokenIssued, TokenRevoked, TokenRotated

V = TypeVar("V")

REMEMBERED = 10_000
"""Tokens, known or unknown, that are kept in memory at most."""

FRESH_SECONDS = 60.0
UNKNOWN_FRESH_SECONDS = 5.0
GRACE_SECONDS = 60.0
"""For which a token is honoured beyond that while the log does not answer, as when a lone NATS is
started again. No longer: where it is the network that is cut, others may have revoked it."""

LONGEST_BEARER = 1024


class Access(msgspec.Struct, frozen=True):
    """Whoever showed a valid token, and what they may do."""

    token: str
    scopes: frozenset[Scope]
    namespaces: frozenset[str]
    expires_at: datetime | None = None

    @property
    def actor(self) -> str:
        return f"token/{self.token}"

    @property
    def everywhere(self) -> bool:
        return ALL in self.namespaces

    @property
    def sees_system(self) -> bool:
        """Whether events that belong to no tenant are shown."""
        return "admin" in self.scopes and self.everywhere

    def has(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def enters(self, namespace: str) -> bool:
        if namespace == SYSTEM:
            return self.sees_system
        return self.everywhere or namespace in self.namespaces

    def covers(self, namespaces: Sequence[str]) -> bool:
        """Whether a token for `namespaces` is this one's to issue, rotate or revoke."""
        return self.everywhere or self.namespaces.issuperset(namespaces)

    def expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class Credential(msgspec.Struct, frozen=True):
    """One token, folded from its events."""

    hash: str
    access: Access
    revoked: bool = False


def fold(history: Sequence[Commit]) -> Credential | None:
    """What a token has become; None when it was never issued."""
    credential: Credential | None = None
    for event in (event for commit in history for event in commit.events):
        match event:
            case TokenIssued():
                scopes, namespaces = frozenset(event.scopes), frozenset(event.namespaces)
                access = Access(event.token, scopes, namespaces, event.expires_at)
                credential = Credential(event.hash, access)
            case TokenRotated() if credential:
                access = msgspec.structs.replace(credential.access, expires_at=event.expires_at)
                credential = Credential(event.hash, access, credential.revoked)
            case TokenRevoked() if credential:
                credential = msgspec.structs.replace(credential, revoked=True)
            case _:
                pass
    return credential


class _Known(msgspec.Struct, frozen=True):
    credential: Credential | None
    position: int
    until: float


class Authenticator:
    """Verifies bearers. Its owner lets it hear every commit of the log."""

    def __init__(self, log: EventLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._news: OrderedDict[str, int] = OrderedDict()

    async def identify(self, bearer: str | None) -> Access:
        """Whose bearer this is.

        Raises `Rejected` with `unauthenticated`, `token_revoked` or `token_expired`, and
        `LogUnavailable` when that can not be found out.
        """
        if not bearer:
            raise Rejected("unauthenticated", "this needs a bearer token")
        if len(bearer) > LONGEST_BEARER:
            raise Rejected("unauthenticated", "that is no token")
        token, hash = token_id_and_hash(bearer)
        credential = await self.credential(token)
        if credential is None or not compare_digest(credential.hash, hash):
            raise Rejected("unauthenticated", "this token is not known here")
        if credential.revoked:
            raise Rejected("token_revoked", "this token was revoked")
        if credential.access.expired(datetime.now(UTC)):
            raise Rejected("token_expired", "this token has expired")
        return credential.access

    async def credential(self, token: str) -> Credential | None:
        """One token as it is now, or was a moment ago. Raises `LogUnavailable`."""
        known = self._known.get(token)
        if known is not None and self._clock() < known.until:
            self._known.move_to_end(token)
            return known.credential
        try:
            found = await self._load(token)
        except LogUnavailable:
            if known is None or known.credential is None:
                raise
            if self._clock() >= known.until + GRACE_SECONDS:
                raise
            return known.credential
        if found.position >= self._news.get(token, 0):
            _remember(self._known, token, found)
        return found.credential

    def hear(self, commits: Sequence[Commit]) -> Sequence[str]:
        """Drop what `commits` changed; the tokens whose bearers have to show themselves again."""
        tokens = [commit for commit in commits if commit.stream.aggregate == AGGREGATE]
        for commit in tokens:
            _remember(self._news, commit.stream.id, commit.position)
            known = self._known.get(commit.stream.id)
            if known is not None and known.position < commit.position:
                del self._known[commit.stream.id]
        return [commit.stream.id for commit in tokens]

    async def _load(self, token: str) -> _Known:
        stream = Stream(SYSTEM, AGGREGATE, token)
        history = await self._log.load(stream)
        if _end(history) < self._news.get(token, 0):  # a replica that has yet to hear it
            history = await self._log.load(stream, fresh=True)
        credential = fold(history)
        keep = FRESH_SECONDS if credential else UNKNOWN_FRESH_SECONDS
        return _Known(credential, _end(history), self._clock() + keep)


def _end(history: Sequence[Commit]) -> int:
    return history[-1].position if history else 0


def _remember(memory: OrderedDict[str, V], key: str, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
