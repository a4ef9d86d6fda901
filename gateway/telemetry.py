"""What is told about every request: an id, a span, a metric and a line in the log.

It wraps the whole application, so that an unknown path or a failure is told about too.
"""

import logging
import re
import time
from contextlib import AbstractContextManager
from contextvars import ContextVar

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Gauge, Histogram
from ulid import ULID

REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

SECONDS = Histogram(
    "mllm_http_request_seconds",
    "Time until an answer began, streams included",
    ["route", "method", "status"],
)
UNDER_WAY = Gauge("mllm_http_requests_under_way", "Requests being answered, streams included")

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The request that is being answered."""

logger = logging.getLogger("gateway.access")
tracer = trace.get_tracer("gateway")
propagator = TraceContextTextMapPropagator()


def add_request_id(record: logging.LogRecord) -> bool:
    """A filter for log handlers: lines said on behalf of a request carry the request's id."""
    if id := request_id.get():
        record.request_id = id
    return True


class Telemetry:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, send)
        token = request_id.set(exchange.request_id)
        try:
            with UNDER_WAY.track_inprogress(), exchange.span():
                await self._app(scope, receive, exchange.send)
        finally:
            exchange.ended()
            request_id.reset(token)


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._began = time.perf_counter()
        self._status = 0
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(b"x-request-id", "")
        self.request_id = given if REQUEST_ID.fullmatch(given) else str(ULID())
        carrier = {"traceparent": headers.get(b"traceparent", "")}
        self._span = tracer.start_span(
            scope["method"], propagator.extract(carrier), SpanKind.SERVER
        )
        sent: dict[str, str] = {}
        propagator.inject(sent, trace.set_span_in_context(self._span))
        state = scope.setdefault("state", {})
        state["request_id"] = self.request_id
        state["traceparent"] = sent.get("traceparent", "")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            named = (b"x-request-id", self.request_id.encode())
            message["headers"] = [*message.get("headers", ()), named]
            elapsed = time.perf_counter() - self._began
            SECONDS.labels(self._route, self._scope["method"], str(self._status)).observe(elapsed)
        await self._send(message)

    def span(self) -> AbstractContextManager[trace.Span]:
        return trace.use_span(self._span)

    def ended(self) -> None:
        route, method = self._route, self._scope["method"]
        self._span.update_name(f"{method} {route}")
        self._span.set_attribute("http.request.method", method)
        self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", self._status)
        if self._status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()
        logger.info("%s %s %d", method, route, self._status, extra=self._facts())

    @property
    def _route(self) -> str:
        """The route's template: as a label, a path would be one metric per job."""
        return str(self._scope.get("path_template", "unknown"))

    def _facts(self) -> dict[str, object]:
        """For the log: never the query, whatever someone may have put in it."""
        client = self._scope.get("client")
        caller = self._scope["state"].get("caller")
        return {
            "request_id": self.request_id,
            "method": self._scope["method"],
            "path": self._scope["path"],
            "route": self._route,
            "status": self._status,
            "seconds": round(time.perf_counter() - self._began, 6),
            "client": client[0] if client else "",
            "actor": caller.access.actor if caller else "",
            "namespace": caller.namespace if caller else "",
        }
