"""One supervised process: started, watched, started again when it dies, and stopped."""

import asyncio
import os
import sys
import time
from asyncio import FIRST_COMPLETED
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import Literal, TypeAlias

import msgspec
import psutil

from cli.embedded import logs
from cli.embedded.account import Account
from cli.embedded.datadir import StackError
from cli.embedded.process import ProcessRecord, record

LAUNCH = Path(__file__).with_name("launch.py")

FIRST_DELAY = 0.2
LAST_DELAY = 5.0
STEADY = 30.0  # seconds of life after which a death counts as the first again
FALSE_STARTS = 4
PROBE_PATIENCE = 5.0

State: TypeAlias = Literal["starting", "ready", "waiting", "stopped"]


@dataclass(frozen=True)
class Part:
    """A program of the stack, and its manners.

    `env` is its whole environment. `ready` says whether it serves now; an `OSError` means not yet.
    `within` and `grace` are the seconds it may take to become ready and to stop. `stop` asks it to
    stop; `orphaned` is what it gets, on Linux, when the stack dies without stopping it.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    within: float = 30.0
    grace: float = 10.0
    stop: Signals = SIGTERM
    orphaned: Signals = SIGKILL
    account: Account | None = None


class PartStatus(msgspec.Struct, frozen=True, rename="camel"):
    """`process` is what runs now, if anything does; `restarts` counts since the stack came up."""

    state: State
    restarts: int = 0
    process: ProcessRecord | None = None


def command(argv: Sequence[str], orphaned: Signals, account: Account | None) -> Sequence[str]:
    """The command line that becomes `argv`. It must be run by this process's main thread."""
    launch = (sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(int(orphaned)))
    return (*launch, str(account or "-"), *argv)


class Child:
    """Keeps a part running from `start` to `stop`; `changed` is called when its status differs."""

    def __init__(self, part: Part, log: Path, changed: Callable[[], None]) -> None:
        self.part = part
        self.log = log
        self.status = PartStatus("stopped")
        self._changed = changed
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._hurry = asyncio.Event()
        self._proven = False

    async def start(self) -> float:
        """Start it, and return the seconds it took to become ready.

        Raises `StackError` when it does not, with the cause from its log.
        """
        began, since = time.monotonic(), logs.size(self.log)
        self._keeper = asyncio.create_task(self._keep())
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait(
                [ready, self._keeper], timeout=self.part.within, return_when=FIRST_COMPLETED
            )
        finally:
            ready.cancel()
        if not self._ready.is_set():
            self.check()
            raise self._failure(logs.last_words(self.log, since))
        return time.monotonic() - began

    async def restart(self) -> None:
        """Stop it; it is started again at once."""
        self._ready.clear()
        self._hurry.set()
        await self._end()

    async def until_ready(self) -> None:
        await self._ready.wait()

    async def stop(self) -> None:
        """Stop it for good; kill it when its grace is over."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await self._end()
        self._turn("stopped")

    def check(self) -> None:
        """Raise what broke the supervision itself, if anything did."""
        if self._keeper is not None and self._keeper.done() and not self._keeper.cancelled():
            self._keeper.result()

    def _failure(self, said: str) -> StackError:
        gave_up = self._keeper is not None and self._keeper.done()
        cause = said or "it ended and said nothing"
        if not gave_up and (self._process is None or self._process.returncode is None):
            cause = f"not ready after {self.part.within:g} s" + (f": {said}" if said else "")
        return StackError(f"{self.part.name} did not start: {cause}", f"read {self.log}")

    async def _keep(self) -> None:
        """Run it for ever. Give up only on one that never became ready."""
        delay, false_starts = FIRST_DELAY, 0
        while True:
            began = time.monotonic()
            await self._live()
            false_starts += not self._proven
            if false_starts == FALSE_STARTS:
                return
            if time.monotonic() - began > STEADY:
                delay = FIRST_DELAY
            self._turn("waiting")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), delay)
            self._hurry.clear()
            delay = min(delay * 2, LAST_DELAY)
            restarts = self.status.restarts + 1
            self.status = msgspec.structs.replace(self.status, restarts=restarts)

    async def _live(self) -> None:
        """One life, from birth to death."""
        try:
            process = self._process = await self._spawn()
        except OSError:
            return  # no room for its log or no process to be had: like dying young
        self._turn("starting", process.pid)
        try:
            async with asyncio.TaskGroup() as life:
                probing = life.create_task(self._probe(process.pid))
                await process.wait()
                probing.cancel()
        finally:
            self._ready.clear()

    async def _spawn(self) -> Process:
        logs.rotate(self.log)
        with logs.open_log(self.log) as output:
            return await asyncio.create_subprocess_exec(
                *command(self.part.argv, self.part.orphaned, self.part.account),
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.part.env),
                start_new_session=True,  # a Ctrl-C is for the stack, which stops parts in order
            )

    async def _probe(self, pid: int) -> None:
        pause = 0.02
        while not await self._is_ready():
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, 0.5)
        self._proven = True
        self._ready.set()
        self._turn("ready", pid)

    async def _is_ready(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_PATIENCE):
                return await self.part.ready()
        except (OSError, TimeoutError):
            return False

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):  # it may die of itself meanwhile
            process.send_signal(self.part.stop)
            try:
                await asyncio.wait_for(process.wait(), self.part.grace)
            except TimeoutError:
                process.kill()
                await process.wait()

    def _turn(self, state: State, pid: int | None = None) -> None:
        process = None
        if pid is not None:
            with suppress(psutil.NoSuchProcess):
                process = record(pid, self.part.argv)
        self.status = PartStatus(state, self.status.restarts, process)
        self._changed()
