"""The world that models run in, as `MLLM_RUNTIME` has it: processes here, or a cluster's KServe."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec

from cli.assembling import Parts, store_of
from gateway.ports import keyless
from processors.driver import Driver
from processors.inspection import World
from processors.lease import FileLease, Lease, PostgresLease
from processors.process.driver import ProcessDriver
from processors.process.engines import Engines
from processors.process.keys import EngineKeys
from processors.process.life import Manners
from processors.process.recipes import Recipes
from processors.process.workloads import ProcessWorkloads
from processors.process.world import ProcessWorld
from schemas.live import Endpoint
from schemas.workloads import Workloads


class Running(msgspec.Struct, frozen=True):
    """Who brings models up, who can be asked about them, and whose turn it is to look after them.

    Each machine looks after its own processes, but only one of us after a cluster.
    """

    driver: Driver
    workloads: Workloads
    world: World
    lease: Lease
    engine_key: Callable[[Endpoint], str] = keyless


@asynccontextmanager
async def running(parts: Parts) -> AsyncGenerator[Running]:
    """What `settings.runtime` names."""
    if parts.settings.runtime == "process":
        yield _processes(parts)
        return
    # imported here: the client is big, and a machine without a cluster has no use for it
    from processors.kserve.cluster import Cluster
    from processors.kserve.driver import KServeDriver
    from processors.kserve.facts import ClusterFacts
    from processors.kserve.workloads import KubeWorkloads
    from processors.kserve.world import ClusterWorld

    cluster = Cluster(namespace=parts.settings.kube_namespace)
    try:
        yield Running(
            KServeDriver(cluster),
            KubeWorkloads(cluster, store=parts.settings.store),
            ClusterWorld(ClusterFacts(cluster)),
            PostgresLease(parts.settings.database_url, "activator"),
        )
    finally:
        await cluster.close()


def _processes(parts: Parts) -> Running:
    settings = parts.settings
    store = store_of(settings)
    manners = Manners(grace=settings.grace_seconds, backoff_cap=settings.restart_cap_seconds)
    recipes = Recipes(store, Engines(settings.engines), parts.secrets)
    return Running(
        ProcessDriver(settings.data_dir, recipes, manners),
        ProcessWorkloads(settings.data_dir, recipes),
        ProcessWorld(settings.data_dir, store, recipes, parts.secrets),
        FileLease(settings.data_dir / "runtime" / "activator.lock"),
        EngineKeys(settings.data_dir),
    )
