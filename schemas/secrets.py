"""Secrets by name: the port. Only names ever travel in commands, events and answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from schemas.message import Value


class SecretInfo(Value):
    name: str
    updated_at: datetime


class Secrets(Protocol):
    """Every method raises `Rejected` with `secrets_unavailable` when the store can not answer."""

    async def get(self, namespace: str, name: str) -> str:
        """Raises `Rejected` with `secret_not_found`."""
        ...

    async def set(self, namespace: str, name: str, value: str) -> None: ...

    async def delete(self, namespace: str, name: str) -> bool:
        """Whether there was one."""
        ...

    async def list(self, namespace: str) -> Sequence[SecretInfo]: ...
