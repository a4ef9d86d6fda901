"""What is checked before a model serves, and what came of it."""

from typing import Literal, Protocol, TypeAlias

from schemas.manifest import Manifest
from schemas.message import Value

Outcome: TypeAlias = Literal["pass", "warn", "fail"]


class Check(Value):
    """One question that was asked of a manifest. `remedy` says what to do, unless it passed."""

    name: str
    outcome: Outcome
    reason: str
    remedy: str = ""


class Holder(Value):
    """Who holds something that is short: a slot of ours, or a pod of somebody else's."""

    name: str
    gpus: int
    slot: str = ""
    model: str = ""


CHECKS = (
    "weights",
    "storage",
    "secrets",
    "configMaps",
    "runtime",
    "architecture",
    "arguments",
    "gpus",
    "memory",
)
"""The names of all that an `Inspector` checks, in its order."""


def unchecked() -> tuple[Check, ...]:
    """What there is to say while nobody knows which model is meant."""
    why = "not looked at: first the manifest has to be understood"
    return tuple(Check(name, "warn", why) for name in ("catalog", *CHECKS))


class Capacity(Value):
    """GPUs: how many are asked for, how many are free, and who holds the others."""

    wanted: int
    free: int
    total: int
    holders: tuple[Holder, ...] = ()


class Inspector(Protocol):
    async def check(
        self, manifest: Manifest, namespace: str, *, slot: str = ""
    ) -> tuple[Check, ...]:
        """Every check there is, in the same order every time, whatever came of those before.

        What serves in `slot` now counts as gone. Raises `LogUnavailable`.
        """
        ...

    async def capacity(self, manifest: Manifest, namespace: str, *, slot: str = "") -> Capacity:
        """The GPUs that the manifest asks for, against those there are."""
        ...
