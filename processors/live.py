"""Live state on JetStream: byte counts and heartbeats of attempts, room in stores, where
slots answer.

One message per job, store and slot, gone after an hour: state, not history. It is kept in files all
the same: a NATS without replicas forgets a stream in memory, and not only what is in it, when it is
restarted.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from processors.work import QueueError
from schemas.live import Endpoint, StoreBeat, Tick
from schemas.log import LogUnavailable
from schemas.names import SYSTEM

HOUR = 3600.0
BACKLOG = 1000


class LiveNames(msgspec.Struct, frozen=True):
    prefix: str = ""

    @property
    def stream(self) -> str:
        return f"{self.prefix}PROG"

    @property
    def root(self) -> str:
        return f"{self.prefix}prog"

    def job(self, namespace: str, job: str) -> str:
        return f"{self.root}.{namespace}.job.{job}"

    def store(self, store: str) -> str:
        return f"{self.root}.{SYSTEM}.store.{store}"

    def slot(self, namespace: str, slot: str) -> str:
        return f"{self.root}.{namespace}.slot.{slot}"


def stream_config(names: LiveNames, *, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=names.stream,
        subjects=[f"{names.root}.>"],
        storage=StorageType.FILE,
        max_msgs_per_subject=1,
        max_age=HOUR,
        discard=DiscardPolicy.OLD,
        num_replicas=replicas,
        allow_direct=True,
    )


class Live:
    """A `LiveState`, and the way to say something to it."""

    def __init__(self, nats: Client, names: LiveNames) -> None:
        self._nats = nats
        self._js = nats.jetstream()
        self._names = names

    async def say(self, tick: Tick) -> None:
        """Publish a heartbeat and wait until it is stored. Raises nats errors."""
        subject = self._names.job(tick.namespace, tick.job)
        await self._js.publish(subject, msgspec.json.encode(tick), timeout=2)

    async def say_store(self, beat: StoreBeat) -> None:
        await self._js.publish(self._names.store(beat.store), msgspec.json.encode(beat), timeout=2)

    async def say_endpoint(self, endpoint: Endpoint) -> None:
        subject = self._names.slot(endpoint.namespace, endpoint.slot)
        await self._js.publish(subject, msgspec.json.encode(endpoint), timeout=2)

    async def endpoint(self, namespace: str, slot: str) -> Endpoint | None:
        subject = self._names.slot(namespace, slot)
        try:
            found = await self._js.get_last_msg(self._names.stream, subject, direct=True)
        except NotFoundError:
            return None
        except QueueError as error:
            raise LogUnavailable(f"where {slot} answers can not be read: {error}") from error
        return msgspec.json.decode(found.data or b"", type=Endpoint)

    async def tick(self, namespace: str, job: str) -> Tick | None:
        subject = self._names.job(namespace, job)
        try:
            found = await self._js.get_last_msg(self._names.stream, subject, direct=True)
        except NotFoundError:
            return None
        return msgspec.json.decode(found.data or b"", type=Tick)

    async def stores(self) -> Sequence[StoreBeat]:
        """What was last said of every store. Raises `LogUnavailable` while NATS is away."""
        try:
            info = await self._js.stream_info(self._names.stream, self._names.store("*"))
            found = [await self._beat(subject) for subject in info.state.subjects or {}]
        except QueueError as error:
            raise LogUnavailable(f"the stores' room can not be read: {error}") from error
        return [beat for beat in found if beat is not None]

    async def _beat(self, subject: str) -> StoreBeat | None:
        try:
            found = await self._js.get_last_msg(self._names.stream, subject, direct=True)
        except NotFoundError:
            return None
        return msgspec.json.decode(found.data or b"", type=StoreBeat)

    async def ticks(self) -> AsyncIterator[Tick]:
        """Every new tick. A reader too slow for them misses some: the next one says it all."""
        arrived: asyncio.Queue[Msg] = asyncio.Queue(BACKLOG)

        async def hear(message: Msg) -> None:
            with contextlib.suppress(asyncio.QueueFull):
                arrived.put_nowait(message)

        subscription = await self._nats.subscribe(f"{self._names.root}.*.job.*", cb=hear)
        try:
            while True:
                message = await arrived.get()
                yield msgspec.json.decode(message.data, type=Tick)
        finally:
            if not self._nats.is_closed:
                await subscription.unsubscribe()
