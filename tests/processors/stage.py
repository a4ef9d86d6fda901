"""An activator between a log in memory and a world, which can be killed and started again."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from ulid import ULID

from commands.dispatch import Dispatcher
from commands.looking import SlotsOnLog
from commands.memory import MemoryLog
from processors.activator import Activator
from processors.driver import Driver
from processors.ending import end
from processors.keeper import Keeper
from processors.lease import FileLease
from processors.voice import Voice
from schemas.live import Endpoint
from schemas.log import Commit, Stream
from schemas.manifest import Manifest, WeightsSource
from schemas.message import Command, Context
from schemas.runtime import ActivateModel, ActivationPhase, SeenSlot, Served, Strategy
from schemas.status import Health, StatusUpdated
from tests.support import eventually

D = TypeVar("D", bound=Driver)

SLOT = "active-llm"


class Addresses:
    """`Endpoints`, and `References`, that remember what they were told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.released: list[str] = []

    async def say_endpoint(self, endpoint: Endpoint) -> None:
        self.said.append(endpoint.url)

    async def release(self, namespace: str, slot: str, served: Served, context: Context) -> object:
        self.released.append(served.model)
        return None


class Stage(Generic[D]):
    """A log, a world and an activator between them, which can be killed and started again."""

    def __init__(
        self, place: Path, world: D, *, correct: bool = False, log: MemoryLog | None = None
    ) -> None:
        self.log = log or MemoryLog()
        self.dispatch = Dispatcher(self.log)
        self.slots = SlotsOnLog(self.log, self.log)
        self.world = world
        self._correct = correct
        self.addresses = Addresses()
        self._lease = place / "lease"
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        def keeper() -> Keeper:
            voice = Voice(self.dispatch, self.addresses, self.addresses)
            return Keeper(self.slots, self.world, voice, "w1", correct=self._correct)

        lease = FileLease(self._lease)
        activator = Activator(self.log, self.slots, self.world, lease, keeper)
        self._running = asyncio.create_task(activator.run())

    async def kill(self) -> None:
        if self._running is not None:
            await end(self._running)
            self._running = None

    async def say(self, command: Command, at: datetime | None = None) -> None:
        context = Context(command=str(ULID()), at=at or datetime.now(UTC), actor="ann")
        await self.dispatch(command, context)

    async def activate(
        self, model: str, strategy: Strategy = "direct", *, preempt: bool = False,
        hold: bool = False, seconds: float = 600.0, at: datetime | None = None,
    ) -> str:  # fmt: skip
        manifest = Manifest(id=model, weights=WeightsSource(target=model), runtime="vllm")
        id = str(ULID())
        await self.say(
            ActivateModel(
                SLOT, id, model, 1, manifest, model, "default", strategy, "ann",
                preempt=preempt, hold=hold, timeout=seconds,
            ),
            at,
        )  # fmt: skip
        return id

    async def seen(self) -> SeenSlot:
        return await self.slots("default", SLOT)

    async def history(self, aggregate: str = "runtime") -> Sequence[Commit]:
        return await self.log.load(Stream("default", aggregate, SLOT))

    async def types(self) -> Sequence[str]:
        return [kind for commit in await self.history() for kind in commit.types]

    async def phases(self) -> Sequence[str]:
        history = await self.history()
        events = [event for commit in history for event in commit.events]
        return [event.phase for event in events if isinstance(event, ActivationPhase)]

    async def health_at(self, kind: str) -> Health | None:
        """How the slot was last recorded to be when the first event of that type was said."""
        said = next(c.position for c in await self.history() if kind in c.types)
        before = [c for c in await self.history("status") if c.position < said]
        return _health(before[-1]) if before else None

    async def until_health(self, health: Health) -> None:
        async def recorded() -> bool:
            history = await self.history("status")
            return bool(history) and _health(history[-1]) == health

        await eventually(recorded)

    async def until_current(self, model: str) -> None:
        """Until this model is who serves, and nothing is under way."""

        async def current() -> bool:
            state = (await self.seen()).state
            return (state.current.model if state.current else "", state.flight) == (model, None)

        await eventually(current)

    async def until_phase(self, phase: str) -> None:
        async def there() -> bool:
            flight = (await self.seen()).state.flight
            return flight is not None and flight.phase == phase

        await eventually(there)

    async def until_said(self, kind: str) -> None:
        async def said() -> bool:
            return kind in await self.types()

        await eventually(said)


def _health(commit: Commit) -> Health:
    [event] = commit.events
    assert isinstance(event, StatusUpdated)
    return event.status.health


@asynccontextmanager
async def running(
    place: Path, world: D, *, correct: bool = False, log: MemoryLog | None = None
) -> AsyncGenerator[Stage[D]]:
    """An activator at work, in a world."""
    stage = Stage(place, world, correct=correct, log=log)
    stage.start()
    try:
        yield stage
    finally:
        await stage.kill()
