"""A machine to serve models on: weights, an engine that is quick, and supervisors of it."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from processors.driver import Instance, Present, Sight
from processors.fetch.layout import manifest_path
from processors.process import holding, places
from processors.process.driver import ProcessDriver
from processors.process.engines import Engines
from processors.process.life import Manners
from processors.process.places import Place
from processors.process.recipes import Recipes
from processors.process.stopping import stop_all
from processors.process.workloads import ProcessWorkloads
from processors.secrets import FileSecrets
from processors.store import Store
from schemas.engine import EngineTemplate
from schemas.manifest import EngineArguments, EnvVar, Manifest, WeightsSource
from schemas.runtime import Served
from tests.support import eventually

FAKE = Path(__file__).with_name("fake_server.py")
ACTIVATION = "01JD0000000000000000ABCDEF"
OTHER = "01JD0000000000000000ABCDEG"
QUICK = Manners(grace=30.0, backoff=0.05, backoff_cap=0.3, patience=20.0, poll=0.05, misses=2)
"""Quick where it is for us to be so, and patient with servers: a busy machine makes them slow."""

BRUSQUE = replace(QUICK, grace=0.7, patience=1.0)
"""For servers that do not go, or do not answer."""

ENGINES = {
    "fake": EngineTemplate((sys.executable, "-IS", str(FAKE), "{port}", "{model}")),
    "absent": EngineTemplate(("mllm-no-such-program", "{port}")),
}


class Machine:
    """`driver` is its supervisor; `another` one comes after it, or beside it."""

    def __init__(self, root: Path, manners: Manners = QUICK) -> None:
        self.data = root / "data"
        self.store = Store("default", root / "weights", 0)
        self.secrets = FileSecrets(root / "secrets")
        self.manners = manners
        self.recipes = Recipes(self.store, Engines(ENGINES), self.secrets)
        self.driver = self.another()
        self.workloads = ProcessWorkloads(self.data, self.recipes)
        self.install("tiny", {"model.safetensors": b""})

    def another(self) -> ProcessDriver:
        return ProcessDriver(self.data, self.recipes, self.manners)

    def install(self, target: str, files: Mapping[str, bytes]) -> Path:
        folder = self.store.layout.target("default", target)
        for path, data in {**files, str(manifest_path(Path())): b"{}"}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder

    def place(self, activation: str = ACTIVATION) -> Place:
        return places.place(places.runtime(self.data), "default", "active-llm", activation)

    def server(self, activation: str = ACTIVATION) -> holding.Record:
        """Who serves now."""
        server = holding.look(self.place(activation)).server
        assert server is not None
        return server

    def processes(self, activation: str = ACTIVATION) -> list[psutil.Process]:
        return holding.members(self.place(activation))

    async def serves(self, instance: Instance, driver: ProcessDriver | None = None) -> Sight:
        """Wait until it answers."""
        return await self.comes_to(instance, "ready", driver)

    async def comes_to(
        self, instance: Instance, health: str, driver: ProcessDriver | None = None
    ) -> Sight:
        seen: list[Sight] = []

        async def holds() -> bool:
            seen.append(await (driver or self.driver).ensure(instance))
            return seen[-1].status.health == health

        try:
            await eventually(holds)
        except TimeoutError:
            raise AssertionError(f"not {health}: {seen[-1] if seen else 'never seen'}") from None
        return seen[-1]

    async def removed(self, instance: Instance, driver: ProcessDriver | None = None) -> None:
        async def holds() -> bool:
            return await (driver or self.driver).remove(present(instance))

        await eventually(holds)

    def kill(self, activation: str = ACTIVATION) -> int:
        """Kill -9 the server; returns who it was."""
        pid = self.server(activation).pid
        os.kill(pid, signal.SIGKILL)
        return pid


@asynccontextmanager
async def machine(root: Path, manners: Manners = QUICK) -> AsyncGenerator[Machine]:
    made = Machine(root, manners)
    try:
        yield made
    finally:
        await asyncio.to_thread(stop_all, made.data, 0.2)
    assert not [
        p for place in places.wanted(places.runtime(made.data)) for p in holding.members(place)
    ]


def instance(
    activation: str = ACTIVATION,
    *,
    env: Mapping[str, str] | None = None,
    variables: tuple[EnvVar, ...] = (),
    runtime: str = "fake",
    replicas: int = 1,
    target: str = "tiny",
    engine: EngineArguments | None = None,
) -> Instance:
    manifest = Manifest(
        id="tiny",
        weights=WeightsSource(target=target),
        runtime=runtime,
        engine=engine or EngineArguments(),
        env=(*variables, *(EnvVar(name, value) for name, value in (env or {}).items())),
    )
    served = Served(activation, "tiny", 1, manifest, target, "default")
    return Instance("default", "active-llm", served, replicas)


def present(wanted: Instance) -> Present:
    return Present(wanted.namespace, wanted.slot, wanted.served.id)


def living(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that run. A dead one whose parent died before it may wait to be buried for ever."""
    return [process for process in processes if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two looks
        return False
