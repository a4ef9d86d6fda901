"""Idempotency keys: what is remembered of a write, so that sending it twice is sending it once."""

from typing import Protocol

import msgspec


class Answer(msgspec.Struct, frozen=True):
    """A remembered answer to a write: what its key replays."""

    status: int
    body: bytes


class Remembered(msgspec.Struct, frozen=True):
    """What is known of an idempotency key. `seed` is a ULID from which the write takes its ids,
    so that carrying it out again is carrying out the same; `answer` is None until it is done."""

    fingerprint: str
    seed: str
    answer: Answer | None = None


class IdempotencyKeys(Protocol):
    """Keys are remembered for 24 hours within `scope`. Every method raises `LogUnavailable`."""

    async def claim(self, scope: str, key: str, fingerprint: str, seed: str) -> Remembered:
        """What is known of the key; if nothing, `seed` is remembered.

        Raises `Rejected` with `idempotency_mismatch` when the key came with another request.
        """
        ...

    async def answer(self, scope: str, key: str, answer: Answer) -> None:
        """Remember how the write that claimed the key was answered."""
        ...
