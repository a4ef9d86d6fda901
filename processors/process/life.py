"""One instance as its supervisor knows it: what runs, how it died before, and when it may start.

Nothing here is needed to find the instance again: a new supervisor reads the lock and the record.
"""

import asyncio
import random
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from processors.driver import Instance
from processors.process import events, holding, launch, logs, starting
from processors.process.engines import HOST
from processors.process.holding import Facts, Record, Seen
from processors.process.masking import Mask
from processors.process.places import Place, prune
from processors.process.probing import Answer, ask

Health: TypeAlias = Literal["absent", "starting", "loading", "ready", "degraded"]

HEADLESS = 2.0  # seconds in which a server that takes the lock has written down who it is
CALM = 2.0  # seconds between two questions to a server that serves
SOON = 0.4  # seconds one call waits for a process to end


@dataclass(frozen=True)
class Manners:
    """Seconds, but for the counts.

    `grace`: between SIGTERM and SIGKILL. `backoff` and `backoff_cap`: the first and the longest
    wait before a restart. `quick_deaths`: as many before it served, or within `steady` of it, and
    the engine has failed. `patience`: for an answer to a health request; `misses` of them in a row,
    and a server that served is degraded. `poll`: between two looks.
    """

    grace: float = 15.0
    backoff: float = 0.5
    backoff_cap: float = 60.0
    quick_deaths: int = 4
    steady: float = 30.0
    patience: float = 2.0
    misses: int = 3
    poll: float = 0.3


class Stir(NamedTuple):
    """What about an instance is worth telling when it changes."""

    pid: int
    health: Health
    held: bool
    due: bool


class Found(NamedTuple):
    """What a look found: who serves, which children ended how, and what one that died said last."""

    seen: Seen
    ended: Mapping[int, int]
    words: str


class Life:
    """Not for two at once: hold `turn`."""

    def __init__(self, place: Place, manners: Manners) -> None:
        self.place = place
        self.turn = asyncio.Lock()
        self.instance: Instance | None = None
        self.server: Record | None = None
        self.pid = 0
        self.health: Health = "absent"
        self.answer: Answer = "silent"
        self.restarts = 0
        self.deaths = 0
        self.exit_code: int | None = None
        self.words = ""
        self.ending: float | None = None
        self.secrets: tuple[str, ...] = ()
        self.told: Stir | None = None
        self._manners = manners
        self._children: set[int] = set()
        self._held = False
        self._rested = False
        self._headless_since: float | None = None
        self._not_before = 0.0
        self._ready_since: float | None = None
        self._confirmed = 0
        self._misses = 0
        self._asked = 0.0

    @property
    def failed(self) -> bool:
        """Whether it died so often, and so soon, that waiting helps nobody."""
        return self.deaths >= self._manners.quick_deaths and self.health != "ready"

    @property
    def due(self) -> bool:
        """Whether it may be started now."""
        return not self.pid and not self._held and time.monotonic() >= self._not_before

    @property
    def stir(self) -> Stir:
        return Stir(self.pid, self.health, self._held, self.due)

    async def observe(self, *, calm: bool = False) -> None:
        """See how it is now. `calm`: a server that serves need not be asked every time."""
        self._settle(await asyncio.to_thread(self._look))
        if self.server is not None:
            if not calm or self.health != "ready" or time.monotonic() - self._asked >= CALM:
                await self._ask(self.server)
        elif self._held and not self.pid:
            await self._behead()

    def start(self, command: Sequence[str], env: dict[str, str], facts: Facts) -> None:
        """Raises `OSError`. At once, so that nobody is interrupted between a birth and its note."""
        self.pid = starting.spawn(self.place, command, env)
        self._children.add(self.pid)
        self._rested = False
        self.health, self._ready_since, self._misses = "starting", None, 0
        self.restarts = facts.restarts
        self._note("normal", "Started", f"process {self.pid} on port {facts.port}")

    async def end(self) -> bool:
        """Let it end, gently first; whether nothing of it is left. Raises `OSError`."""
        word: signal.Signals | None = None
        if self.ending is None:
            if self._rested and not await asyncio.to_thread(holding.is_held, self.place):
                return True
            self.ending = time.monotonic() + self._manners.grace
            word = signal.SIGTERM
        elif time.monotonic() >= self.ending:
            word = signal.SIGKILL
        over = await asyncio.to_thread(self._end, word)
        if over:
            self.rest()
        return over

    def rest(self) -> None:
        """Forget how it was: the next start is its first."""
        self.server, self.pid, self.health, self.ending = None, 0, "absent", None
        self.restarts = self.deaths = 0
        self.exit_code, self.words, self._held = None, "", False
        self._not_before, self._ready_since, self._rested = 0.0, None, True
        self.place.record.unlink(missing_ok=True)

    def _look(self) -> Found:
        """Beside the event loop: last words may be long."""
        ended = starting.reap(self._children, self.place)
        seen = holding.look(self.place)
        words = logs.last_words(self.place.log, Mask(self.secrets)) if self._died(seen) else ""
        return Found(seen, ended, words)

    def _died(self, seen: Seen) -> bool:
        return seen.server is None and self.pid != 0 and self.pid not in self._children

    def _settle(self, found: Found) -> None:
        """Take notice of what was seen: a server to adopt, or one that has died."""
        seen = found.seen
        self._held, self.server = seen
        if seen.server is not None:
            self._headless_since = None
            if seen.server.pid != self.pid:
                self._adopt(seen.server)
        elif self._died(seen):
            code = found.ended.get(self.pid)
            self.pid, self._ready_since, since = 0, None, self._ready_since
            self.health = "absent"
            if code != launch.TAKEN and self.ending is None:
                self.words = found.words
                self._mourn(code, since)

    def _adopt(self, server: Record) -> None:
        self.pid, self.restarts, self._rested = server.pid, server.restarts, False
        if self.instance is not None:
            env = self.instance.served.manifest.env
            names = [variable.name for variable in env if variable.secret is not None]
            self.secrets = holding.values(server, names) or self.secrets
        self.health, self._ready_since, self._misses = "starting", None, 0
        if server.pid not in self._children:
            self._note("normal", "Adopted", f"process {server.pid} on port {server.port}")

    def _mourn(self, code: int | None, ready_since: float | None) -> None:
        """Count a death, and say when the next life may begin."""
        manners, now = self._manners, time.monotonic()
        quick = ready_since is None or now - ready_since < manners.steady
        self.deaths = self.deaths + 1 if quick else 1
        delay = min(manners.backoff_cap, manners.backoff * 2 ** min(self.deaths - 1, 30))
        self._not_before = now + delay * random.uniform(0.8, 1.2)
        self.exit_code = code
        how = "ended" if code is None else f"ended with exit code {code}"
        self._note("warning", "Died", f"{how}; death {self.deaths} in a row")

    async def _ask(self, server: Record) -> None:
        answer = await ask(HOST, server.port, server.health, self._manners.patience)
        if answer == "ready" and self._confirmed != server.pid:
            # Somebody else may answer where our server could not listen.
            if await asyncio.to_thread(holding.listens, server):
                self._confirmed = server.pid
            else:
                answer = "silent"
        self.answer, self._asked = answer, time.monotonic()
        if answer == "ready":
            self._serve()
        elif self.health in ("ready", "degraded"):
            self._misses += 1
            if self._misses >= self._manners.misses:
                self.health = "degraded"
        else:
            self.health = "starting" if answer == "silent" else "loading"

    def _serve(self) -> None:
        now = time.monotonic()
        if self._ready_since is None:
            self._ready_since = now
            self._note("normal", "Ready", "it answers")
        elif now - self._ready_since >= self._manners.steady:
            self.deaths = 0
        self.health, self._misses = "ready", 0

    async def _behead(self) -> None:
        """End what holds the lock though its server is gone, unless one is about to appear."""
        now = time.monotonic()
        self._headless_since = self._headless_since or now
        if now - self._headless_since >= HEADLESS:
            left = await asyncio.to_thread(holding.members, self.place)
            holding.send(signal.SIGKILL, left)

    def _end(self, word: signal.Signals | None) -> bool:
        """Signal everything of it, if there is a word for it, and see for a moment what becomes."""
        if word is not None:
            starting.reap(self._children, self.place)
            leader = holding.known_leader(self.place, min(self._children, default=0))
            found = holding.members(self.place, leader)
            if found:
                self._note("normal", "Stopping", f"{word.name} to {len(found)} processes")
            holding.send(word, found)
        deadline = time.monotonic() + SOON
        while True:
            starting.reap(self._children, self.place)
            if not self._children and not holding.is_held(self.place):
                return not holding.members(self.place)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)

    def _note(self, kind: Literal["normal", "warning"], reason: str, message: str) -> None:
        events.note(self.place, kind, reason, message)


def bury(place: Place) -> bool:
    """Remove what says that an instance is wanted, keeping its log; False if it runs after all.

    Raises `OSError`.
    """
    with holding.holding(place) as free:
        if not free:
            return False
        place.record.unlink(missing_ok=True)
        place.lock.unlink(missing_ok=True)
    prune(place)
    return True
