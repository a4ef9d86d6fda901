"""Publishing to a JetStream stream that may have no leader for a moment."""

import asyncio
from collections.abc import Mapping

from nats.js.api import PubAck
from nats.js.client import JetStreamContext
from nats.js.errors import NoStreamResponseError

WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
"""Refusals of a message that was to follow another than it would have: somebody was quicker."""

PAUSE = 0.05


async def publish(
    jetstream: JetStreamContext,
    subject: str,
    data: bytes,
    headers: Mapping[str, str],
    patience: float,
) -> PubAck:
    """Publish, and again while nobody listens, for up to `patience` seconds: as while a server
    starts, a stream is being made, or its replicas choose who leads them.

    Raises `NoStreamResponseError` when nobody ever listened, so that it certainly is not stored,
    and the client's other errors as they come.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while True:
        try:
            return await jetstream.publish(subject, data, headers=dict(headers))
        except NoStreamResponseError:
            if loop.time() >= until:
                raise
            await asyncio.sleep(PAUSE)
