"""Dispatch, watchdog, workers and the activator: everything that acts on the log."""

import asyncio
import os
import socket
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from psycopg import Error as PostgresError

from cli.assembling import Parts, assemble, store_of
from cli.failures import Misused
from cli.roles.choosing import chosen
from cli.roles.leaving import told, until
from cli.settings import Settings
from cli.telemetry import serve_metrics
from cli.worlds import Running, running
from commands.activating import Activations
from commands.looking import Jobs, SlotsOnLog
from commands.mending import Mending
from processors.activator import Activator
from processors.delete import DeleteRunner
from processors.dispatch import Dispatcher
from processors.hub import Hub
from processors.install import Connections, InstallRunner
from processors.keeper import Keeper
from processors.mending import Mender
from processors.store import Store, StoreKeeper
from processors.verify import VerifyRunner
from processors.voice import Voice
from processors.watchdog import Watchdog
from processors.work import CLASSES, WorkClass, WorkQueue, WorkSource
from processors.worker import Desk, Manners, Worker
from projections.jobs import unfinished

THREADS = 16
"""For what is short; each slot of a worker may hold one more for as long as its job takes."""
PARTS = ("dispatch", "watchdog", "worker", "activator")


async def serve(settings: Settings, only: Sequence[str]) -> None:
    """Run the chosen parts until told to stop; then hand over what is under way, at once."""
    wanted = chosen(PARTS, only)
    leave = told()
    threads = THREADS + len(CLASSES) * settings.slots
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
    async with assemble(settings, "processors") as parts, running(parts) as models:
        serve_metrics(settings)
        queue = WorkQueue(parts.nats, parts.names.work)
        dispatcher = Dispatcher(queue, Jobs(parts.log), parts.orders)
        workers: list[Worker] = []
        work: list[Coroutine[Any, Any, None]] = []
        if "dispatch" in wanted:
            work.append(dispatcher.run(parts.nats, parts.names.log.stream))
        if "watchdog" in wanted:
            work.append(_watchdog(parts, dispatcher).run(settings.watchdog_seconds))
        if "worker" in wanted:
            store = store_of(settings)
            workers += [await _worker(parts, kind, store) for kind in CLASSES]
            work.append(StoreKeeper(store, name(), parts.live, Jobs(parts.log)).run())
            work += [worker.run() for worker in workers]
        if "activator" in wanted:
            work.append(_activator(parts, models).run())
            work.append(Mender(parts.log, _mending(parts)).run())
        await until(leave, *work, hand_over=lambda: _leave(workers))


async def _leave(workers: Sequence[Worker]) -> None:
    await asyncio.gather(*(worker.leave() for worker in workers))


def name() -> str:
    """What this worker is called in events: the machine and the process."""
    return f"{socket.gethostname()}-{os.getpid()}"


def _watchdog(parts: Parts, dispatcher: Dispatcher) -> Watchdog:
    async def jobs() -> Sequence[tuple[str, str]]:
        try:
            async with parts.pool.connection() as db:
                return await unfinished(db)
        except PostgresError as error:
            raise OSError(f"Postgres does not answer: {error}") from error

    lease = parts.settings.lease_seconds
    return Watchdog(jobs, Jobs(parts.log), parts.live, dispatcher, lease)


def _activator(parts: Parts, models: Running) -> Activator:
    slots = SlotsOnLog(parts.log, parts.jetstream)
    references = Activations(parts.log, parts.dispatch)

    def keeper() -> Keeper:
        voice = Voice(parts.dispatch, parts.live, references)
        correct = parts.settings.drift == "correct"
        return Keeper(slots, models.driver, voice, name(), correct=correct)

    return Activator(parts.log, slots, models.driver, models.lease, keeper)


def _mending(parts: Parts) -> Mending:
    return Mending(parts.log, parts.dispatch, parts.jetstream)


async def _worker(parts: Parts, kind: WorkClass, store: Store) -> Worker:
    settings = parts.settings
    source = WorkSource(parts.nats, parts.names.work, kind, settings.store)
    if not await source.ready():
        raise Misused(
            f"NATS has no queue for store {settings.store}",
            f"run: mllm migrate --store {settings.store}",
        )
    hub = Hub(settings.hf_endpoint, settings.hf_token)
    connections = Connections(
        settings.streams, settings.bandwidth, settings.stall_seconds, settings.xet == "auto"
    )
    return Worker(
        nats=parts.nats,
        source=source,
        desk=Desk(Jobs(parts.log), parts.dispatch, parts.live, parts.logs),
        runners={
            "install": InstallRunner(hub, parts.secrets, store, connections),
            "verify": VerifyRunner(store),
            "delete": DeleteRunner(store),
        },
        manners=Manners(
            name=name(),
            slots=settings.slots,
            lease=settings.lease_seconds,
            heartbeat=settings.heartbeat_seconds,
            backoff=settings.backoff_seconds,
            backoff_cap=settings.backoff_cap_seconds,
            attempts=settings.attempts,
        ),
        subjects=parts.names.log.root,
    )
