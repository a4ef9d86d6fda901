"""Logs, traces and metrics of a role: structured lines, spans only when asked for, one port."""

import json
import logging
import sys
from datetime import UTC, datetime

from prometheus_client import start_http_server

from cli.failures import Misused
from cli.settings import Settings

logger = logging.getLogger(__name__)

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and whatever `extra` says."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(settings: Settings, role: str) -> None:
    """Set up the log lines and, if an exporter is named, the traces of this process."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(JsonLines(role))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {role} %(message)s"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx2", "httpcore2", "urllib3", "filelock"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if settings.otlp_endpoint:
        _trace(settings.otlp_endpoint, role)


def _trace(endpoint: str, role: str) -> None:
    # imported here: without an exporter, tracing costs nothing, not even its import
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": f"mllm-{role}"}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def serve_metrics(settings: Settings) -> None:
    """Answer Prometheus beside the role's work: also the sign that the role is ready.

    Raises `Misused` when the port is taken.
    """
    try:
        start_http_server(settings.metrics_port, settings.host)
    except OSError as error:
        raise Misused(
            f"metrics port {settings.metrics_port} can not be used: {error.strerror}",
            "set MLLM_METRICS_PORT to another, or to 0 for any",
        ) from error
