"""One admitted request: who makes it, about which namespace, and under which ids."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from gateway.auth import Access
from schemas.message import Context, Rejected
from schemas.names import ALL, SYSTEM
from schemas.token import Scope

USE_SECRETS: Sequence[Scope] = ("secrets:read", "jobs:write", "catalog:write")


class Caller(msgspec.Struct, frozen=True):
    """`seed` is a ULID from which a write takes its command's id and the ids of what it makes: an
    idempotency key that comes again brings the same one. `namespace` is `*` for all of them."""

    access: Access
    namespace: str
    seed: str
    request_id: str
    traceparent: str

    @property
    def scope(self) -> str:
        """Within what an idempotency key means something."""
        return f"{self.namespace}/{self.access.token}"

    @property
    def namespaces(self) -> str | None:
        """The one namespace a list is about; None for all."""
        return None if self.namespace == ALL else self.namespace

    def refuse_secret(self, name: str | None) -> None:
        """Raise `Rejected` if a token that only reads names a secret: with what that opens it would
        read what it may not. Whoever may order work may have it done with a secret."""
        if name and not any(map(self.access.has, USE_SECRETS)):
            raise Rejected(
                "forbidden_scope",
                "to use a secret needs a token with one of the scopes " + ", ".join(USE_SECRETS),
                scope=USE_SECRETS[0],
            )

    def context(self, *, system: bool = False) -> Context:
        """What surrounds a command of this request. `system`: about what belongs to no tenant."""
        return Context(
            command=self.seed,
            at=datetime.now(UTC),
            actor=self.access.actor,
            namespace=SYSTEM if system else self.namespace,
            correlation=self.request_id,
            traceparent=self.traceparent,
        )


async def provide_caller(request: Request[Any, Any, Any]) -> Caller:
    caller: Caller = request.scope["state"]["caller"]
    return caller


From: TypeAlias = NamedDependency[SkipValidation[Caller]]
