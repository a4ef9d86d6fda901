"""The whole embedded stack: what starts after what, and what is watched from then on.

NATS and Postgres start together, then the migration runs, then the roles start together. Each part
is then kept running on its own, whatever becomes of the others.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cli.embedded import logs, nats, postgres
from cli.embedded.child import Child, Part, PartStatus
from cli.embedded.datadir import ROOM, DataDir, claim, free_bytes
from cli.embedded.nats import Nats
from cli.embedded.postgres import Postgres
from cli.embedded.process import myself
from cli.embedded.status import StackStatus, stop_leftovers
from cli.writing import write_private

TICK = 1.0
AILING_TICKS = 2
CURE_PAUSE = 10.0


@dataclass(frozen=True)
class Urls:
    """Where the servers are. The first holds a password: for environments, never for eyes."""

    nats: str = field(repr=False)
    database: str

    @property
    def env(self) -> Mapping[str, str]:
        return {"MLLM_NATS_URL": self.nats, "MLLM_DATABASE_URL": self.database}


async def _nothing(_: Urls) -> None:
    """A migration with nothing to do."""


def _unheard(_: str, __: float) -> None:
    """What is said to nobody."""


@dataclass(frozen=True)
class Plan:
    """What to run on the servers, and how.

    `migrate` runs when the servers are ready and before the roles start; roles find the servers in
    their environment. `on_ready` hears each part's name and the seconds it took. `free` tells how
    many bytes can still be written at a path.
    """

    roles: Sequence[Part] = ()
    migrate: Callable[[Urls], Awaitable[None]] = _nothing
    on_ready: Callable[[str, float], None] = _unheard
    nats_port: int | None = None
    free: Callable[[Path], int] = free_bytes


@asynccontextmanager
async def open_stack(root: Path, plan: Plan) -> AsyncGenerator["Stack"]:
    """A stack on the data directory `root`: up when this enters, stopped when it exits.

    Raises `StackError` when the data directory, a server or a role will not have it, and leaves
    nothing running then. What outlived an earlier stack is stopped first.
    """
    with claim(root, plan.free) as data:
        await stop_leftovers(data)
        stack = Stack(data, nats.prepare(data, plan.nats_port), await postgres.prepare(data), plan)
        try:
            await stack.start()
            yield stack
        finally:
            await stack.stop()


class Stack:
    def __init__(self, data: DataDir, nats: Nats, postgres: Postgres, plan: Plan) -> None:
        self.urls = Urls(nats.url, postgres.url)
        self._data = data
        self._nats = nats
        self._postgres = postgres
        self._plan = plan
        self._myself = myself()
        self._since = datetime.now(UTC)
        self._children: dict[str, Child] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._unsaved = False

    @property
    def parts(self) -> Mapping[str, PartStatus]:
        return {name: child.status for name, child in self._children.items()}

    async def start(self) -> None:
        await self._bring_up([self._nats.part, self._postgres.part])
        await self._plan.migrate(self.urls)
        env = self.urls.env
        await self._bring_up([replace(role, env={**role.env, **env}) for role in self._plan.roles])
        self._watcher = asyncio.create_task(self._watch())

    async def run(self) -> None:
        """Keep everything running, for ever. Raises only what broke the supervision itself."""
        if self._watcher is not None:
            await self._watcher

    async def restart(self, part: str) -> None:
        """Stop that part and start it again, while the rest runs on; return when it is ready."""
        await self._children[part].restart()
        await self._children[part].until_ready()

    async def stop(self) -> None:
        """Stop the roles, then the servers."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        servers = [self._children[name] for name in ("nats", "postgres") if name in self._children]
        roles = [child for child in self._children.values() if child not in servers]
        for group in (roles, servers):
            await asyncio.gather(*(child.stop() for child in group))
        self._data.status.unlink(missing_ok=True)

    async def _bring_up(self, parts: Sequence[Part]) -> None:
        """Start parts together; when one fails, let go of the others and raise its reason."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(self._start_one(part))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _start_one(self, part: Part) -> None:
        child = Child(part, self._data.logs / f"{part.name}.log", self._save)
        self._children[part.name] = child
        self._plan.on_ready(part.name, await child.start())

    async def _watch(self) -> None:
        ailing, cured = 0, -CURE_PAUSE
        while True:
            await asyncio.sleep(TICK)
            for child in self._children.values():
                child.check()
                logs.rotate(child.log)
            if self._unsaved:
                self._save()
            ailing = ailing + 1 if await self._is_nats_ailing() else 0
            # Now and then only: what ails it may be something that a restart does not cure.
            if ailing >= AILING_TICKS and time.monotonic() - cured > CURE_PAUSE:
                await self._children["nats"].restart()
                ailing, cured = 0, time.monotonic()

    async def _is_nats_ailing(self) -> bool:
        """Whether NATS runs and cannot write although there is room again, as after a full disk."""
        if self._children["nats"].status.state != "ready":
            return False
        if self._plan.free(self._data.nats) < ROOM:
            return False
        return await self._nats.ailment() is not None

    def _save(self) -> None:
        status = StackStatus(
            self._myself, self._since, self._nats.address, self.urls.database, self.parts
        )
        try:
            write_private(self._data.status, msgspec.json.encode(status), durable=False)
            self._unsaved = False
        except OSError:
            self._unsaved = True  # the disk may be full, which must not bring down the stack
