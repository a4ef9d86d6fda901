"""Idempotency keys on JetStream: what a repeated write is answered with, for 24 hours.

They are kept apart from the log, since they are about requests and not about what happened, and
apart from Postgres, since writes go on without it.
"""

import asyncio
import hashlib

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, Header, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from commands.publishing import WRONG_LAST_SEQUENCE, publish
from schemas.idempotency import Answer, Remembered
from schemas.log import LogUnavailable
from schemas.message import Rejected

DAY = 86400.0
MAX_BYTES = 256 * 1024 * 1024
PATIENCE = 5.0
PAUSE = 0.02


class KeyNames(msgspec.Struct, frozen=True):
    prefix: str = ""

    @property
    def stream(self) -> str:
        return f"{self.prefix}KEYS"

    @property
    def root(self) -> str:
        return f"{self.prefix}keys"

    def subject(self, scope: str, key: str) -> str:
        """Where a key is kept: hashed, for it may hold anything."""
        return f"{self.root}.{_hash(scope)}.{_hash(key)}"


def stream_config(names: KeyNames, *, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=names.stream,
        subjects=[f"{names.root}.*.*"],
        storage=StorageType.FILE,
        max_msgs_per_subject=1,
        max_age=DAY,
        max_bytes=MAX_BYTES,
        discard=DiscardPolicy.OLD,  # a flood of keys shortens the memory, and fills no disk
        num_replicas=replicas,
        allow_direct=True,
    )


class Keys:
    """`IdempotencyKeys` on NATS."""

    def __init__(self, nats: Client, names: KeyNames, patience: float = PATIENCE) -> None:
        self._js = nats.jetstream(timeout=patience)
        self._patience = patience
        self._names = names

    async def claim(self, scope: str, key: str, fingerprint: str, seed: str) -> Remembered:
        subject = self._names.subject(scope, key)
        fresh = Remembered(fingerprint, seed)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while not await self._put(subject, fresh, after=0):
            _, known = await self._get(subject)
            if known is not None:
                return _same_request(known, fingerprint)
            if loop.time() >= until:
                raise LogUnavailable("idempotency keys can not be kept now")
            await asyncio.sleep(PAUSE)  # another claim is still on its way to the replicas
        return fresh

    async def answer(self, scope: str, key: str, answer: Answer) -> None:
        subject = self._names.subject(scope, key)
        position, known = await self._get(subject)
        if (
            known is not None and known.answer is None
        ):  # else whoever sent the same at the same time was answered first
            await self._put(subject, msgspec.structs.replace(known, answer=answer), after=position)

    async def _put(self, subject: str, known: Remembered, *, after: int) -> bool:
        """Whether it was kept: not if the key has changed since `after`."""
        headers = {Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(after)}
        data = msgspec.json.encode(known)
        try:
            await publish(self._js, subject, data, headers, self._patience)
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                return False
            raise LogUnavailable("idempotency keys can not be kept now") from error
        except (TimeoutError, NatsError) as error:
            raise LogUnavailable("idempotency keys can not be kept now") from error
        return True

    async def _get(self, subject: str) -> tuple[int, Remembered | None]:
        """From the leader: a replica may not have heard yet of what was just kept."""
        try:
            found = await self._js.get_last_msg(self._names.stream, subject)
        except NotFoundError:
            return 0, None
        except (TimeoutError, NatsError, APIError) as error:
            raise LogUnavailable("idempotency keys can not be read now") from error
        return found.seq or 0, msgspec.json.decode(found.data or b"", type=Remembered)


def _same_request(known: Remembered, fingerprint: str) -> Remembered:
    if known.fingerprint != fingerprint:
        raise Rejected(
            "idempotency_mismatch", "this Idempotency-Key came with another request before"
        )
    return known


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
