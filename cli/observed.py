"""Telemetry around the log's port, so that nobody who uses the log has to think of it."""

import time
from collections.abc import AsyncIterator, Sequence

import msgspec
from opentelemetry import propagate, trace
from opentelemetry.context import Context as OtelContext
from prometheus_client import Histogram

from schemas.log import AnyEvent, Commit, EventLog, Head, Stream
from schemas.message import Context

tracer = trace.get_tracer("mllm.log")

APPEND = Histogram("mllm_log_append_seconds", "Appends to the log", ["aggregate", "outcome"])
LOAD = Histogram("mllm_log_load_seconds", "Aggregates read from the log", ["aggregate"])


class ObservedLog:
    """An `EventLog` that measures another, and lets traces travel in its commits."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def load(self, stream: Stream, *, fresh: bool = False) -> Sequence[Commit]:
        with LOAD.labels(stream.aggregate).time():
            return await self._log.load(stream, fresh=fresh)

    async def last(self, stream: Stream, *, fresh: bool = False) -> Commit | None:
        with LOAD.labels(stream.aggregate).time():
            return await self._log.last(stream, fresh=fresh)

    async def append(
        self, stream: Stream, at: Head, events: Sequence[AnyEvent], context: Context
    ) -> Commit:
        began, outcome = time.perf_counter(), "error"
        with tracer.start_as_current_span(f"append {stream.aggregate}", context=_parent(context)):
            try:
                commit = await self._log.append(stream, at, events, _traced(context))
                outcome = "ok"
            finally:
                APPEND.labels(stream.aggregate, outcome).observe(time.perf_counter() - began)
        return commit

    def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]:
        return self._log.follow(after)

    async def fetch(self, positions: Sequence[int]) -> Sequence[Commit]:
        return await self._log.fetch(positions)

    async def end(self) -> int:
        return await self._log.end()


def _parent(context: Context) -> OtelContext | None:
    """The span under way here, or else the one that the command came from."""
    if trace.get_current_span().get_span_context().is_valid:
        return None
    return propagate.extract({"traceparent": context.traceparent})


def _traced(context: Context) -> Context:
    """The context with the current span's `traceparent`, should there be one."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    traceparent = carrier.get("traceparent", context.traceparent)
    return msgspec.structs.replace(context, traceparent=traceparent)
