"""What the keeper of a slot says: to the log, to the gateways' proxies, and about what it sees."""

import time
from datetime import UTC, datetime
from typing import Protocol

import msgspec
from ulid import ULID

from schemas.live import Endpoint
from schemas.log import Dispatch
from schemas.message import Command, Context
from schemas.runtime import SeenSlot, Served
from schemas.status import RecordStatus, SlotStatus

STATUS_SECONDS = 1.0
"""At most one status in this time: what changed in between is in the next."""

MOST_PODS = 100
"""Told of one slot: one commit has to hold them."""

ENDPOINT_SECONDS = 30.0
"""How often an address is said again: what is live is forgotten after an hour, or with its server,
and whoever had the lease before may have said another since."""


class Endpoints(Protocol):
    async def say_endpoint(self, endpoint: Endpoint) -> None:
        """Tell every gateway where a slot answers. Raises nats errors."""
        ...


class References(Protocol):
    async def release(self, namespace: str, slot: str, served: Served, context: Context) -> object:
        """End the slot's reliance on the weights of what left it, unless it needs them: then see
        to it that it relies on them. Raises `LogUnavailable`."""
        ...


class Voice:
    """Speaks for the keeper of one slot. Raises `Rejected`, `LogUnavailable`, nats errors."""

    def __init__(self, dispatch: Dispatch, endpoints: Endpoints, references: References) -> None:
        self._dispatch = dispatch
        self._endpoints = endpoints
        self._references = references
        self._shown: tuple[str, str] | None = None
        self._shown_at = 0.0
        self._left: dict[str, float] = {}
        self._since = time.monotonic()
        self._recorded: SlotStatus | None = None
        self._recorded_at = float("-inf")

    async def say(self, seen: SeenSlot, step: str, command: Command) -> None:
        """`step` names the command, so that each is granted once, whoever says it again."""
        await self._dispatch(command, _context(seen, f"activator/{step}"))

    async def observe(self, seen: SeenSlot, command: Command) -> None:
        """Say what is seen: it may be seen again, so each time is a command of its own."""
        await self._dispatch(command, _context(seen, f"activator/{ULID()}"))

    async def show(self, seen: SeenSlot, served: Served | None, url: str) -> None:
        """Let requests to the slot go there; an empty `url` is nowhere."""
        what = (served.id if served else "", url)
        now = time.monotonic()
        former = self._shown
        if what == former and now - self._shown_at < ENDPOINT_SECONDS:
            return
        await self._endpoints.say_endpoint(
            Endpoint(
                namespace=seen.namespace,
                slot=seen.state.slot,
                activation=what[0],
                model=served.model if served else "",
                url=url,
                at=datetime.now(UTC),
            )
        )
        self._shown, self._shown_at = what, now
        if former is not None and former[1] and former != what:
            self._left[former[0]] = now

    async def leave(self, seen: SeenSlot, served: Served) -> float:
        """Let no request go there any more; say for how many seconds none has, as far as is known:
        whoever spoke for the slot before may have let some in until it was replaced."""
        if self._shown is not None and self._shown[0] == served.id and self._shown[1]:
            await self.show(seen, seen.state.current, "")
        return time.monotonic() - self._left.get(served.id, self._since)

    async def record(self, seen: SeenSlot, status: SlotStatus) -> float:
        """Record a change, unless the one before is too recent: say in how many seconds it is not.

        0 when this is what is recorded.
        """
        status = msgspec.structs.replace(status, pods=status.pods[:MOST_PODS])
        if status == self._recorded:
            return 0.0
        too_soon = self._recorded_at + STATUS_SECONDS - time.monotonic()
        if too_soon > 0:
            return too_soon
        await self.observe(seen, RecordStatus(seen.state.slot, status))
        self._recorded, self._recorded_at = status, time.monotonic()
        return 0.0

    async def match(self, seen: SeenSlot, served: Served) -> None:
        """Let go of the weights of what has left, unless it is to come back: then rely on them."""
        context = _context(seen, f"activator/{served.id}/release")
        await self._references.release(seen.namespace, seen.state.slot, served, context)


def _context(seen: SeenSlot, command: str) -> Context:
    """In the course of events that the slot is in, traced on from its request."""
    return Context(
        command=command,
        at=datetime.now(UTC),
        actor="activator",
        namespace=seen.namespace,
        correlation=seen.correlation,
        traceparent=seen.traceparent,
    )
