"""The same behaviours on two clusters: our own server, and, under the marker `kube`, a real one.

A real one needs KServe's CRDs, in full (the minimal ones say nothing of what a specification has),
and no controller of it: tests say what controllers would. They make a namespace of their own and
delete it when they are done. Controllers of the cluster itself may be there, or not.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from processors.kserve.access import Access, connect
from processors.kserve.cluster import Cluster
from processors.kserve.driver import KServeDriver
from processors.kserve.informer import Rest
from processors.kserve.workloads import KubeWorkloads
from tests.kube.between import Between, between
from tests.kube.hand import Hand
from tests.kube.server import TOKEN, KubeServer, kube_server

QUICK = Rest(0.05, 0.5)


class World:
    """A cluster with a namespace of one's own, our driver, and somebody else's hand in it."""

    def __init__(self, kubeconfig: str, hand: Hand, stack: AsyncExitStack) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = hand.namespace
        self.hand = hand
        self._stack = stack
        self.cluster = self.reached(kubeconfig)
        self.driver = KServeDriver(self.cluster, rest=QUICK)
        self.workloads = KubeWorkloads(self.cluster)

    def reached(self, kubeconfig: str) -> Cluster:
        """The namespace, through another kubeconfig."""
        cluster = Cluster(Access(kubeconfig), self.namespace)
        self._stack.push_async_callback(cluster.close)
        return cluster

    async def between(self, tmp_path: Path) -> tuple[Between, Cluster]:
        """The namespace, through something that a test can have misbehave."""
        proxy, url = await self._stack.enter_async_context(between(self.kubeconfig))
        return proxy, self.reached(str(kubeconfig(tmp_path / "between.yaml", url)))


class OwnWorld(World):
    """One whose server is ours."""

    def __init__(
        self, kubeconfig: str, hand: Hand, stack: AsyncExitStack, server: KubeServer, url: str
    ) -> None:
        super().__init__(kubeconfig, hand, stack)
        self.server = server
        self.url = url


def kubeconfig(path: Path, url: str, token: str = TOKEN) -> Path:
    """A kubeconfig for a server at `url`, at `path`."""
    said = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(said))
    return path


@pytest.fixture
async def own(tmp_path: Path) -> AsyncGenerator[OwnWorld]:
    """Our own server alone: for what a real one has no means to show."""
    async with AsyncExitStack() as stack:
        server, url = await stack.enter_async_context(kube_server())
        path = str(kubeconfig(tmp_path / "kubeconfig.yaml", url))
        hand = await _hand(path, stack)
        yield OwnWorld(path, hand, stack, server, url)


@pytest.fixture(params=["own", pytest.param("real", marks=pytest.mark.kube)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        if request.param == "own":
            _, url = await stack.enter_async_context(kube_server())
            path = str(kubeconfig(tmp_path / "kubeconfig.yaml", url))
        elif not (path := os.environ.get("KUBECONFIG", "")):
            pytest.fail("KUBECONFIG names no cluster", pytrace=False)
        hand = await _hand(path, stack)
        yield World(path, hand, stack)


async def _hand(path: str, stack: AsyncExitStack) -> Hand:
    connected = await connect(Access(path))
    stack.push_async_callback(connected.client.close)
    hand = Hand(connected, f"mllm-test-{uuid4().hex[:10]}")
    await hand.arrive()
    stack.push_async_callback(hand.leave)
    return hand
