"""`mllm doctor`: looks where things commonly go wrong, and says what to do about each."""

import os
import shutil
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from cli.client import Gateway
from cli.config import config_path, exposed, read_settings
from cli.exits import Exit
from cli.failures import Failure
from cli.quantities import duration, size
from cli.session import Here, Session
from cli.settings import Settings
from cli.status import ready
from cli.tables import Column, View
from cli.version import VERSION
from cli.wire import Reply, is_loopback
from schemas.api.runtime import SlotRow, StatusRow
from schemas.api.system import SystemInfo
from schemas.message import Value

SKEW_SECONDS = 5.0


class Check(Value):
    level: Literal["ok", "warn", "fail"]
    name: str
    found: str
    remedy: str = ""


CHECKS: View[Check] = View(
    "check",
    lambda check: check.name,
    (
        Column("RESULT", lambda check: check.level),
        Column("CHECK", lambda check: check.name),
        Column("FOUND", lambda check: check.found),
        Column("REMEDY", lambda check: check.remedy),
    ),
)


def doctor(*, session: Here) -> int:
    """Look for what is wrong, and say what to do about it. Fails if anything has to be done."""
    checks = [*_here(session), *_there(session)]
    session.printer.rows(checks, CHECKS)
    return Exit.FAILED if any(check.level == "fail" for check in checks) else Exit.OK


def _here(session: Session) -> Iterator[Check]:
    """This machine."""
    yield _config_file(session)
    try:
        settings = read_settings({}, session.environ)
    except Failure as failure:
        yield Check("fail", "settings", failure.cause, failure.remedy)
        return
    yield Check("ok", "settings", "every MLLM_ variable is known and well-formed")
    yield _data_dir(settings)
    yield _disk(settings)


def _config_file(session: Session) -> Check:
    path = config_path(session.environ)
    if not path.exists():
        return Check("warn", "config file", f"{path} is not there", "mllm login")
    if exposed(path):
        return Check("fail", "config file", f"others can read {path}", f"chmod 600 {path}")
    try:
        contexts = len(session.config.contexts)
    except Failure as failure:
        return Check("fail", "config file", failure.cause, failure.remedy)
    return Check("ok", "config file", f"{path}, {contexts} contexts")


def _data_dir(settings: Settings) -> Check:
    path = settings.data_dir
    if not path.exists():
        return Check("ok", "data directory", f"{path} is yet to be made")
    if not path.is_dir() or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Check("fail", "data directory", f"{path} is not yours to write", "set MLLM_DATA_DIR")
    return Check("ok", "data directory", str(path))


def _disk(settings: Settings) -> Check:
    path = _standing(settings.weights_dir)
    free, reserve = shutil.disk_usage(path).free, settings.disk_reserve
    found = f"{size(free)} free at {path}, {size(reserve)} stay free"
    if free <= reserve:
        return Check("fail", "disk", found, "make room, or lower MLLM_DISK_RESERVE")
    if free <= 2 * reserve:
        return Check("warn", "disk", found, "make room")
    return Check("ok", "disk", found)


def _standing(path: Path) -> Path:
    """The nearest folder above that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _there(session: Session) -> Iterator[Check]:
    """The server, as far as it can be reached."""
    try:
        gateway = session.gateway
        began = time.time()
        reply = gateway.ask("GET", "/healthz")
    except Failure as failure:
        yield Check("fail", "server", failure.cause, failure.remedy)
        return
    took = time.time() - began
    yield Check("ok", "server", f"{gateway.server} answers in {took * 1000:.0f} ms")
    yield from _privacy(gateway)
    yield from _clock(reply, began, took)
    yield from _parts(gateway)
    yield from _access(gateway)
    yield from _slots(gateway)


def _privacy(gateway: Gateway) -> Iterator[Check]:
    address = urlsplit(gateway.server)
    if address.scheme == "http" and not is_loopback(address.hostname or ""):
        yield Check("warn", "privacy", "the token travels in the clear", "use https")


def _clock(reply: Reply, began: float, took: float) -> Iterator[Check]:
    """The server looked at its clock at some time between the question and its answer."""
    try:
        there = parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except ValueError:
        return
    off = abs(there + 0.5 - (began + took / 2))  # the header has whole seconds
    skew = max(0.0, off - took / 2)
    if skew > SKEW_SECONDS:
        found = f"this clock and the server's are {duration(skew)} apart"
        yield Check("warn", "clock", found, "set both by NTP: tokens expire by the clock")
    else:
        yield Check("ok", "clock", "agrees with the server's")


def _parts(gateway: Gateway) -> Iterator[Check]:
    try:
        parts = ready(gateway).parts
    except Failure as failure:
        yield Check("fail", "readiness", failure.cause, failure.remedy)
        return
    for part in parts:
        remedy = "" if part.ok else "see the server's own log"
        yield Check("ok" if part.ok else "fail", part.name, part.detail or "ready", remedy)


def _access(gateway: Gateway) -> Iterator[Check]:
    try:
        info = gateway.get("/system/info", SystemInfo)
    except Failure as failure:
        yield Check("fail", "access", failure.cause, failure.remedy)
        return
    yield Check("ok", "access", f"{info.actor} may {', '.join(info.scopes)}")
    if info.version != VERSION:
        found = f"the server is {info.version}, this is {VERSION}"
        yield Check("warn", "version", found, "install the same version on both sides")


def _slots(gateway: Gateway) -> Iterator[Check]:
    """What is to serve, and whether it does."""
    try:
        rows = gateway.rows("/runtime", SlotRow).rows
        seen = {row.slot: row for row in gateway.rows("/models/status", StatusRow).rows}
    except Failure:  # told of already, as a part that is down or as access that is missing
        return
    for row in rows:
        if row.state != "idle":
            yield _slot(row, seen.get(row.slot))


def _slot(row: SlotRow, status: StatusRow | None) -> Check:
    name, remedy = f"slot {row.slot}", f"mllm runtime diagnose {row.slot}"
    health = status.health if status is not None else "absent"
    if row.state == "failed":
        return Check("warn", name, "its model did not come to serve", remedy)
    if row.state != "serving":
        return Check("ok", name, row.state)
    if row.replicas and health != "ready":
        level: Literal["warn", "fail"] = "fail" if health in ("absent", "failed") else "warn"
        return Check(level, name, f"{row.model} is {health}", remedy)
    return Check(
        "ok", name, f"{row.model} serves" if row.replicas else f"{row.model} is scaled to 0"
    )
