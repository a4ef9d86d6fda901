"""The streams and consumers on NATS: made and changed by `mllm migrate`, checked by every role."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import APIError, NotFoundError
from ulid import ULID

from cli.failures import Misused
from commands import idempotency, jetstream
from processors import dispatch, job_logs, live, work

FORMAT = "1"
"""Version of everything below; raised when a role of another version must not run on it."""

LOG_BYTES = 64 << 30


class Names(NamedTuple):
    """What everything is called on the server, under one prefix."""

    log: jetstream.LogNames
    keys: idempotency.KeyNames
    work: work.WorkNames
    live: live.LiveNames
    job_logs: job_logs.LogStreamNames


def names(prefix: str) -> Names:
    return Names(
        jetstream.LogNames(prefix),
        idempotency.KeyNames(prefix),
        work.WorkNames(prefix),
        live.LiveNames(prefix),
        job_logs.LogStreamNames(prefix),
    )


def streams(called: Names, *, replicas: int, epoch: str, log_bytes: int) -> Sequence[StreamConfig]:
    """Every stream, as this version wants it."""
    return [
        jetstream.stream_config(called.log, replicas=replicas, epoch=epoch, max_bytes=log_bytes),
        idempotency.stream_config(called.keys, replicas=replicas),
        work.stream_config(called.work, replicas=replicas),
        live.stream_config(called.live, replicas=replicas),
        job_logs.stream_config(called.job_logs, replicas=replicas),
    ]


async def migrate(
    nats: Client, prefix: str, *, stores: Sequence[str], lease: float, replicas: int = 1
) -> None:
    """Make every stream and consumer what this version wants. Raises `Misused` for a newer one."""
    called = names(prefix)
    js = nats.jetstream(timeout=10)
    for wanted in streams(called, replicas=replicas, epoch=str(ULID()), log_bytes=LOG_BYTES):
        await _ensure_stream(js, wanted)
    await _ensure_consumer(js, called.log.stream, dispatch.consumer_config())
    for store in stores:
        for consumer in work.consumer_configs(called.work, store, lease):
            await _ensure_consumer(js, called.work.stream, consumer)


async def _ensure_stream(js: JetStreamContext, wanted: StreamConfig) -> None:
    name = wanted.name or ""
    metadata = {**(wanted.metadata or {}), "mllm.format": FORMAT}
    try:
        current = (await js.stream_info(name)).config
    except NotFoundError:
        await js.add_stream(wanted.evolve(metadata=metadata))
        return
    _refuse_newer(name, current.metadata or {})
    # the epoch names the log that is there; only a new log gets a new one
    kept = {**metadata, **(current.metadata or {}), "mllm.format": FORMAT}
    await js.update_stream(wanted.evolve(metadata=kept, num_replicas=current.num_replicas))


async def _ensure_consumer(js: JetStreamContext, stream: str, wanted: ConsumerConfig) -> None:
    await js.add_consumer(stream, wanted)  # the server makes it, or updates the one there is


async def check(nats: Client, prefix: str) -> None:
    """Raises `Misused`, in one line, unless `migrate` of this very version has been here."""
    js = nats.jetstream(timeout=10)
    called = names(prefix)
    log, keys, work_queue, live_state, lines = called
    wanted = (log.stream, keys.stream, work_queue.stream, live_state.stream, lines.stream)
    for name in wanted:
        try:
            info = await js.stream_info(name)
        except NotFoundError as error:
            raise Misused(f"NATS has no stream {name}", "run: mllm migrate") from error
        except (TimeoutError, NatsError, APIError) as error:
            raise Misused(f"stream {name} can not be read: {error}", "is JetStream on?") from error
        _refuse_newer(name, info.config.metadata or {})
        if (info.config.metadata or {}).get("mllm.format", "0") != FORMAT:
            raise Misused(f"stream {name} is of an older version", "run: mllm migrate")


def _refuse_newer(name: str, metadata: Mapping[str, str]) -> None:
    found = metadata.get("mllm.format", FORMAT)
    if int(found) > int(FORMAT):
        raise Misused(
            f"stream {name} is of format {found}, newer than this mllm ({FORMAT})",
            "run the mllm version that migrated it",
        )
