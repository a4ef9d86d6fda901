"""One trace from a request to the worker's bytes, through every process in between."""

import gzip
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.acceptance.test_installing import fresh
from tests.hub import Hub
from tests.system import TOKEN, system, wait

TRACE = "0af7651916cd43dd8448eb211c80319c"


@contextmanager
def collector() -> Generator[tuple[str, dict[str, set[str]]]]:
    """An OTLP receiver: its address, and the names of the spans it got, by trace."""
    spans: dict[str, set[str]] = {}

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest.FromString(_plain(body))
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        spans.setdefault(span.trace_id.hex(), set()).add(span.name)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def test_a_request_and_the_work_it_leads_to_are_one_trace(
    tmp_path: Path, nats_url: str, database_url: str, stream_prefix: str, hub: Hub
) -> None:
    repo = fresh(hub)
    with (
        collector() as (address, spans),
        system(
            tmp_path,
            nats_url,
            database_url,
            stream_prefix,
            hub.url,
            OTEL_EXPORTER_OTLP_ENDPOINT=address,
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as mllm,
    ):
        mllm.start()
        accepted = httpx.post(
            f"{mllm.url}/weights/install",
            json={"hfModelId": repo.id},
            headers={
                "Authorization": f"Bearer {TOKEN}",
                "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
            },
        )
        mllm.until(accepted.json()["job"]["id"], "completed")
        wanted = {"append weights", "append job", "dispatch", "attempt install", "fetch"}
        wait(lambda: wanted <= spans.get(TRACE, set()), lambda: str(spans))

        assert any("/weights/install" in name for name in spans[TRACE])
