"""`mllm runtime logs`: what engines write; of a slot, whoever comes to serve there."""

import http.client
import re
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from cli.client import segment
from cli.exits import Exit
from cli.failures import Failure, OutOfReach
from cli.rollout import fetch_slot, seen
from cli.runtime_rows import Seen
from cli.session import Session
from cli.tables import printable
from schemas.api.runtime import SlotRow
from schemas.status import PodStatus

POLL_SECONDS = 0.5
SUCCESSION_SECONDS = 10.0
"""How long another pod may take to be seen in a slot where nothing is under way."""

SILENCE_SECONDS = 3600.0
"""An engine may have nothing to write for long."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Asked(NamedTuple):
    """Which lines of a pod: the last `tail`, and with `follow` whatever comes."""

    follow: bool
    tail: int
    container: str


def print_logs(session: Session, pod: str | None, slot: str, asked: Asked) -> None:
    """What a pod writes, or, unless it is said, whoever is in the slot. Raises `Failure`."""
    try:
        if pod is not None:
            _print(session, pod, asked)
        else:
            _print_slot(session, slot, asked)
    except (OSError, http.client.HTTPException) as error:
        raise OutOfReach("the connection broke off", "run it again to go on") from error


def _print_slot(session: Session, slot: str, asked: Asked) -> None:
    pod = _first_pod(session, slot)
    known = {pod}
    _print(session, pod, asked)
    while asked.follow and (pod := _next_pod(session, slot, pod, known)):
        known.add(pod)
        _print(session, pod, asked)


def _print(session: Session, pod: str, asked: Asked) -> None:
    gateway = session.gateway.patient(SILENCE_SECONDS)
    said = {"follow": asked.follow, "tail": asked.tail, "container": asked.container or None}
    for line in gateway.stream(f"/runtime/pods/{segment(pod)}/logs", "text/plain", {}, **said):
        print(_text(line))
        sys.stdout.flush()


def _text(line: bytes) -> str:
    """A line without what could move a cursor: engines write what strangers tell them."""
    return printable(COLOURS.sub("", line.decode(errors="replace").rstrip("\r\n")).expandtabs())


def _first_pod(session: Session, slot: str) -> str:
    """The pod in the slot: of several, one that is ready, if any is."""
    pods = _pods(_look(session, slot))
    if not pods:
        raise Failure(
            f"nothing runs in {slot}", f"see `mllm runtime status {slot}`", exit=Exit.NOT_FOUND
        )
    if len(pods) > 1:
        others = ", ".join(pod.name for pod in pods[1:])
        session.hint(f"these are the logs of {pods[0].name}; there is also: {others}")
    return pods[0].name


def _next_pod(session: Session, slot: str, ended: str, known: set[str]) -> str:
    """Who is in the slot after the pod whose logs `ended`: one that is new there, or ready.

    Empty when nobody is; then that is said.
    """
    deadline = time.monotonic() + SUCCESSION_SECONDS
    told = False
    while True:
        now = _look(session, slot)
        for pod in _pods(now):
            if pod.name != ended and (pod.ready or pod.name not in known):
                session.hint(f"the logs of {ended} ended; here are those of {_whose(pod, now)}")
                return pod.name
        if why := _nobody(now.slot, late=time.monotonic() > deadline):
            session.hint(f"the logs of {ended} ended: {why}")
            return ""
        if not told:
            session.hint(f"the logs of {ended} ended; waiting for what is next in {slot}")
            told = True
        time.sleep(POLL_SECONDS)


def _look(session: Session, slot: str) -> Seen:
    return seen(session.gateway, fetch_slot(session.gateway, slot))


def _pods(now: Seen) -> Sequence[PodStatus]:
    """The pods in a slot, those that are ready first."""
    return sorted(now.status.pods if now.status else (), key=lambda pod: not pod.ready)


def _whose(pod: PodStatus, now: Seen) -> str:
    """A pod's name, and the model in it where that is known."""
    for served in (now.slot, now.slot.candidate):
        if served is not None and pod.activation and served.activation == pod.activation:
            return f"{pod.name} ({served.model})"
    return pod.name


def _nobody(row: SlotRow, *, late: bool) -> str:
    """Why nobody comes next, as far as that can be told; empty while somebody may."""
    if row.candidate is not None or row.deactivation:
        return ""
    if not row.model:
        return f"nothing runs in {row.slot} any more"
    if not row.replicas:
        return f"{row.model} is scaled to nothing; mllm runtime scale 1 --slot {row.slot}"
    return f"nothing else runs in {row.slot}; run it again to go on" if late else ""
