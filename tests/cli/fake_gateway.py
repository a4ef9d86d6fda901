"""A gateway that keeps everything in memory: the routes the command line uses, over real HTTP."""

import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec.structs import replace

from schemas.api.events import CloudEvent
from schemas.api.jobs import JobRow
from schemas.api.problem import Problem
from schemas.api.runtime import SlotRow, StatusRow
from schemas.api.tokens import TokenRow
from schemas.api.weights import (
    WeightsRow,
)
from schemas.disk import Disk
from schemas.job import JobEvent
from schemas.live import LogLine, Tick
from schemas.plan import LeftOut, Plan, PlannedFile
from tests.support import PATIENCE

TOKEN = "mllm_01JD0000000000000000000000_s3cret"
JOB = "01JD1111111111111111111111"
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
MIB = 1 << 20


def job_row(id: str = JOB, **fields: Any) -> JobRow:
    """A job that waits, but for `fields`."""
    usual: dict[str, Any] = {
        "namespace": "default",
        "type": "install",
        "status": "pending",
        "target": "org/model",
        "store": "default",
        "priority": 1,
        "requested_at": NOW,
        "requested_by": "token/admin",
        "updated_at": NOW,
        "position": 1,
        "correlation": "request-7",
        "model": "org/model",
        "revision": "main",
        "commit": "c" * 40,
        "bytes_total": 100 * MIB,
        "files_total": 2,
    }
    return JobRow(id=id, **(usual | fields))


def weights_row(name: str = "org/model", **fields: Any) -> WeightsRow:
    usual: dict[str, Any] = {
        "namespace": "default",
        "id": "0" * 32,
        "status": "installed",
        "store": "default",
        "position": 4,
        "updated_at": NOW,
        "model": "org/model",
        "revision": "main",
        "commit": "c" * 40,
        "files": 2,
        "bytes": 100 * MIB,
        "installed_by": JOB,
        "installed_at": NOW,
    }
    return WeightsRow(name=name, **(usual | fields))


PLAN = Plan(
    repo="org/model",
    revision="main",
    commit="c" * 40,
    target="org/model",
    store="default",
    files=(
        PlannedFile("config.json", 1024, "blob-sha1", "a" * 40),
        PlannedFile("model.safetensors", 100 * MIB - 1024, "sha256", "b" * 64),
    ),
    left_out=(LeftOut("pytorch_model.bin", "safetensors hold the same"),),
    bytes=100 * MIB,
    key="k",
    license="apache-2.0",
    disk=Disk(free=3 << 30, reserve=2 << 30, after=(3 << 30) - 100 * MIB),
)


@dataclass
class Seen:
    """A request as it arrived; `names` are the parts of its path that name something."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    names: tuple[str, ...] = ()


@dataclass
class FakeGateway:
    """What it holds, and how it misbehaves. `change` wakes whoever follows the stream."""

    answer: "Callable[[FakeGateway, Seen], tuple[int, object]]"
    url: str = ""
    jobs: dict[str, JobRow] = field(default_factory=dict[str, JobRow])
    weights: dict[str, WeightsRow] = field(default_factory=dict[str, WeightsRow])
    tokens: list[TokenRow] = field(default_factory=list[TokenRow])
    secrets: dict[str, str] = field(default_factory=dict[str, str])
    slots: list[SlotRow] = field(default_factory=list[SlotRow])
    statuses: list[StatusRow] = field(default_factory=list[StatusRow])
    lines: list[LogLine] = field(default_factory=list[LogLine])
    events: list[CloudEvent] = field(default_factory=list[CloudEvent])
    frames: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])
    seen: list[Seen] = field(default_factory=list[Seen])
    refusals: dict[str, Problem] = field(default_factory=dict[str, Problem])
    ready: bool = True
    lost_answers: int = 0
    replay_without_secret: bool = False
    subscribers: int = 0
    generation: int = 0
    change: threading.Condition = field(default_factory=threading.Condition)

    def refuse(self, path: str, code: str, status: int, **more: Any) -> None:
        """Answer every request to `path` with a problem."""
        self.refusals[path] = Problem(
            type=f"urn:mllm:problem:{code}",
            title=code,
            status=status,
            code=code,
            request_id="request-9",
            **more,
        )

    def put(self, row: JobRow) -> JobRow:
        with self.change:
            self.jobs[row.id] = row
        return row

    def happen(self, event: JobEvent, job: str = JOB, **row: Any) -> None:
        """Append an event about a job, and give its row these fields."""
        kind = str(event.__struct_config__.tag)
        with self.change:
            position = len(self.events) + 2
            cloud = CloudEvent(
                specversion="1.0",
                datacontenttype="application/json",
                id=f"{position}.0",
                source="/default/job",
                type=kind,
                subject=f"job/{job}",
                time=NOW,
                sequence=position,
                namespace="default",
                actor="worker/w1",
                correlationid="request-7",
                data=msgspec.Raw(msgspec.json.encode(event)),
            )
            self.events.append(cloud)
            self.frames.append((kind, _frame(cloud.id, kind, msgspec.json.encode(cloud))))
            self.jobs[job] = replace(self.jobs[job], position=position, **row)
            self.change.notify_all()

    def tick(self, tick: Tick) -> None:
        """Tell live byte counts, as no event of the log."""
        data = msgspec.json.encode({"specversion": "1.0", "type": "job.tick", "data": tick})
        with self.change:
            self.frames.append(("job.tick", _frame("", "job.tick", data)))
            self.change.notify_all()

    def reset(self, position: int) -> None:
        """Say that what a reader asked to go on from means nothing here."""
        data = msgspec.json.encode({"type": "stream.reset", "data": {"sequence": position}})
        with self.change:
            self.frames.append(("stream.reset", _frame("", "stream.reset", data)))
            self.change.notify_all()

    def cut(self) -> None:
        """Break every open stream off."""
        with self.change:
            self.generation += 1
            self.change.notify_all()

    def subscribed(self, count: int = 1) -> None:
        """Wait until so many streams have been opened in all."""
        with self.change:
            assert self.change.wait_for(lambda: self.subscribers >= count, PATIENCE)

    def asked(self, count: int) -> None:
        """Wait until so many requests have come in all."""
        with self.change:
            assert self.change.wait_for(lambda: len(self.seen) >= count, PATIENCE)

    def last(self, method: str = "", path: str = "") -> Seen:
        """The newest request of this method to this path."""
        fitting = (s for s in self.seen if s.method == (method or s.method))
        return [s for s in fitting if s.path == (path or s.path)][-1]


def _frame(id: str, kind: str, data: bytes) -> bytes:
    named = f"id: {id}\n".encode() if id else b""
    return named + b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


@contextmanager
def serve(answer: Callable[[FakeGateway, Seen], tuple[int, object]]) -> Generator[FakeGateway]:
    """Run a gateway whose plain requests `answer` answers, with a status and a body."""
    gateway = FakeGateway(answer)
    handler = type("Handler", (Handler,), {"gateway": gateway})
    server = Server(("127.0.0.1", 0), handler)
    gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        gateway.cut()
        server.shutdown()
        server.server_close()
        thread.join()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is no error, and nothing for a test's stderr."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    gateway: ClassVar[FakeGateway]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, parts.path, parse_qs(parts.query), headers, body)
        gateway = self.gateway
        with gateway.change:
            gateway.seen.append(seen)
            problem = gateway.refusals.get(parts.path)  # as it is when a test hears of the request
            gateway.change.notify_all()
        if gateway.lost_answers and self.command != "GET":
            gateway.lost_answers -= 1
            self.close_connection = True
            return
        if problem is not None:
            self._answer(problem.status, problem)
        elif parts.path not in ("/readyz", "/healthz") and not self._known(headers):
            self._answer(401, _unauthenticated())
        elif parts.path == "/events":
            self._stream(seen)
        elif parts.path.endswith("/logs") and "follow" in seen.query:
            self._follow_logs()
        else:
            self._answer(*gateway.answer(gateway, seen))

    def _known(self, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == f"Bearer {TOKEN}"

    def _answer(self, status: int, body: object) -> None:
        content = b"" if body is None else msgspec.json.encode(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _follow_logs(self) -> None:
        self._begin("application/x-ndjson")
        for line in self.gateway.lines:
            self._chunk(msgspec.json.encode(line) + b"\n")
        self._chunk(b"")

    def _begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _stream(self, seen: Seen) -> None:
        gateway = self.gateway
        self.close_connection = True
        self._begin("text/event-stream")
        self._chunk(b": listening\n\n")
        after = seen.headers.get("last-event-id", "")
        sent = _past(gateway, after) if after else len(gateway.frames)
        with gateway.change:
            born = gateway.generation
            gateway.subscribers += 1
            gateway.change.notify_all()
        while True:
            with gateway.change:
                while gateway.generation == born and len(gateway.frames) == sent:
                    gateway.change.wait()
                frames, sent = gateway.frames[sent:], len(gateway.frames)
                over = gateway.generation != born
            for _, frame in frames:
                self._chunk(frame)
            if over:
                return


def _past(gateway: FakeGateway, after: str) -> int:
    """How many frames are not past the place `after`."""
    position = int(after.partition(".")[0])
    past = [
        number
        for number, (_, frame) in enumerate(gateway.frames)
        if frame.startswith(b"id: ") and int(frame[4:].partition(b".")[0]) > position
    ]
    return past[0] if past else len(gateway.frames)


def _unauthenticated() -> Problem:
    return Problem(
        type="urn:mllm:problem:unauthenticated",
        title="Unauthorized",
        status=401,
        code="unauthenticated",
        detail="this token is not known here",
        request_id="request-9",
    )
