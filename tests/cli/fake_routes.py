"""What the gateway of the tests answers to each request."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec

from schemas.api.jobs import InstallAccepted, JobAccepted, JobFileRow
from schemas.api.problem import Page, Problem
from schemas.api.system import (
    PartHealth,
    ProjectionStatus,
    Readiness,
    SystemInfo,
    SystemSummary,
)
from schemas.api.tokens import IssueBody, TokenIssued
from schemas.api.weights import (
    InstallBody,
    StoreUsage,
    WeightsFileRow,
    WeightsInfo,
    WeightsUsage,
)
from schemas.secrets import SecretInfo
from tests.cli.fake_gateway import JOB, MIB, NOW, PLAN, FakeGateway, Seen, job_row, serve


def fake_gateway() -> AbstractContextManager[FakeGateway]:
    """A running gateway."""
    return serve(answer)


def answer(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    """The status and the body of a plain request."""
    for method, path, handle in ROUTES:
        if seen.method == method and (match := re.fullmatch(path, seen.path)):
            return handle(gateway, replace(seen, names=match.groups()))
    return 404, _missing("no such route")


def _missing(detail: str) -> Problem:
    return Problem(
        type="urn:mllm:problem:not_found",
        title="Not Found",
        status=404,
        code="not_found",
        detail=detail,
        request_id="request-9",
    )


def _page(rows: Sequence[Any], seen: Seen) -> Page[Any]:
    """Keyset paging, in its outward form."""
    start = int(seen.query.get("cursor", ["0"])[0])
    end = start + int(seen.query.get("limit", ["50"])[0])
    return Page(tuple(rows[start:end]), str(end) if end < len(rows) else None)


def _list_jobs(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    wanted = seen.query.get("status", [])
    rows = [row for row in gateway.jobs.values() if not wanted or row.status in wanted]
    return 200, _page(rows, seen)


def _get_job(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    [id] = seen.names
    return (200, gateway.jobs[id]) if id in gateway.jobs else (404, _missing(f"no job {id}"))


def _job_files(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    [id] = seen.names
    files = [
        JobFileRow("default", id, file.path, file.size, file.algorithm, file.digest, NOW)
        for file in PLAN.files
    ]
    return 200, _page(list(files), seen)


def _steer_job(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    id, _ = seen.names
    if id not in gateway.jobs:
        return 404, _missing(f"no job {id}")
    row = gateway.jobs[id]
    return 202, JobAccepted(row, f"/jobs/{id}", row.position)


def _install(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    body = msgspec.json.decode(seen.body, type=InstallBody)
    row = gateway.jobs.get(JOB) or gateway.put(job_row(target=body.target or body.hf_model_id))
    path = f"default/{row.target}"
    return 202, InstallAccepted(
        row, f"/jobs/{row.id}", row.target, f"pvc://default/{path}", path, row.position
    )


def _order(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    kind = "delete" if seen.method == "DELETE" else "verify"
    row = gateway.put(job_row(type=kind))
    return 202, JobAccepted(row, f"/jobs/{row.id}", row.position)


def _info(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    [name] = seen.query["name"]
    if name not in gateway.weights:
        return 404, _missing(f"no weights are installed as {name}")
    files = tuple(
        WeightsFileRow("default", name, f.path, f.size, f.algorithm, f.digest) for f in PLAN.files
    )
    path = f"default/{name}"
    return 200, WeightsInfo(gateway.weights[name], files, f"pvc://default/{path}", path)


def _usage(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    store = StoreUsage("default", 100 * MIB, 1, 3 << 30, 10 << 30, 2 << 30)
    return 200, WeightsUsage((store,), tuple(gateway.weights.values()))


def _issue(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    msgspec.json.decode(seen.body, type=IssueBody)
    secret = None if gateway.replay_without_secret else "mllm_t9_new"
    return 201, TokenIssued("t9", secret, 5)


def _rotate(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    [id] = seen.names
    return 200, TokenIssued(id, f"mllm_{id}_newer", 6)


def _revoke(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    [id] = seen.names
    return 200, TokenIssued(id, None, 7)


def _set_secret(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    [name] = seen.names
    gateway.secrets[name] = msgspec.json.decode(seen.body)["value"]
    return 200, SecretInfo(name, NOW)


def _delete_secret(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    [name] = seen.names
    if gateway.secrets.pop(name, None) is None:
        return 404, _missing(f"no secret {name}")
    return 204, None


def _list_secrets(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    return 200, Page(tuple(SecretInfo(name, NOW) for name in gateway.secrets))


def _log(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    events = gateway.events
    if seen.query.get("order") == ["desc"]:
        events = events[::-1]
    return 200, _page(events, seen)


def _readyz(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    parts = (
        PartHealth("nats", True),
        PartHealth("postgres", gateway.ready, "" if gateway.ready else "down"),
    )
    return (200 if gateway.ready else 503), Readiness(gateway.ready, parts)


def _system_info(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    namespace = seen.headers["x-mllm-namespace"]
    position = len(gateway.events) + 1
    return 200, SystemInfo(
        "0.1.0", "epoch-1", position, "process", namespace, "token/t1", ("admin",)
    )


def _summary(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    projections = (ProjectionStatus("jobs", 7, 0), ProjectionStatus("weights", 5, 2))
    return 200, SystemSummary({"running": 1, "failed": 0}, 1, 100 * MIB, (), projections)


def _projections(gateway: FakeGateway, seen: Seen) -> tuple[int, object]:
    rows = (ProjectionStatus("jobs", 7, 0), ProjectionStatus("weights", 5, 2, True))
    return 200, Page(rows)


Route: TypeAlias = Callable[[FakeGateway, Seen], tuple[int, object]]

ROUTES: list[tuple[str, str, Route]] = [
    ("GET", "/healthz", lambda gateway, seen: (200, {"ok": True})),
    ("GET", "/readyz", _readyz),
    ("GET", "/system/info", _system_info),
    ("GET", "/system/summary", _summary),
    ("GET", "/projections", _projections),
    (
        "POST",
        "/projections/([^/]+)/rebuild",
        lambda gateway, seen: (202, ProjectionStatus(seen.names[0], 7, 0, True)),
    ),
    ("GET", "/jobs", _list_jobs),
    ("GET", "/jobs/([^/]+)", _get_job),
    ("GET", "/jobs/([^/]+)/files", _job_files),
    ("GET", "/jobs/([^/]+)/logs", lambda gateway, seen: (200, _page(gateway.lines, seen))),
    ("POST", "/jobs/([^/]+)/(cancel|retry|pause|resume|priority)", _steer_job),
    ("POST", "/weights/install", _install),
    ("POST", "/weights/plan", lambda gateway, seen: (200, PLAN)),
    ("POST", "/weights/verify", _order),
    ("DELETE", "/weights", _order),
    ("GET", "/weights", lambda gateway, seen: (200, _page(list(gateway.weights.values()), seen))),
    ("GET", "/weights/info", _info),
    ("GET", "/weights/usage", _usage),
    ("GET", "/tokens", lambda gateway, seen: (200, _page(gateway.tokens, seen))),
    ("POST", "/tokens", _issue),
    ("POST", "/tokens/([^/]+)/rotate", _rotate),
    ("DELETE", "/tokens/([^/]+)", _revoke),
    ("GET", "/runtime", lambda gateway, seen: (200, _page(gateway.slots, seen))),
    ("GET", "/models/status", lambda gateway, seen: (200, _page(gateway.statuses, seen))),
    ("GET", "/secrets", _list_secrets),
    ("PUT", "/secrets/([^/]+)", _set_secret),
    ("DELETE", "/secrets/([^/]+)", _delete_secret),
    ("GET", "/events/log", _log),
]
