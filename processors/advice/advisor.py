"""The `Advisor` that the gateway is handed: profiles, registries and the Hub, put together."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from processors.advice import architectures, gpus
from processors.advice.flags import advised, general, largest
from processors.advice.memory import engine_of
from processors.facts.remote import facts_of
from processors.hub import HubAccess
from schemas.advice import (
    Architecture,
    Compatibility,
    GpuProfile,
    ModelInfo,
    Recommendation,
    Registry,
    Serving,
)
from schemas.facts import Facts
from schemas.message import Rejected
from schemas.workloads import Node

Nodes: TypeAlias = Callable[[], Awaitable[Sequence[Node]]]

NODES_SECONDS = 3.0
FRESH_SECONDS = 10.0
AT_ONCE = 3
"""Repositories whose headers are read at a time: a stranger wrote them, and some are big."""


class Advice:
    """An `Advisor`. `nodes` tells which machines there are; without, no card is our own.

    A registry that was refreshed into `data_dir` is seen by the next question.
    """

    def __init__(self, hub: HubAccess, data_dir: Path, nodes: Nodes | None = None) -> None:
        self._hub = hub
        self._data_dir = data_dir
        self._nodes = nodes
        self._seen: Sequence[Node] = ()
        self._due = 0.0
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def profiles(self) -> Sequence[GpuProfile]:
        return gpus.with_nodes(gpus.shipped().gpus, await self._machines())

    async def recommend(self, gpu_type: str, facts: Facts | None = None) -> Recommendation:
        gpu = gpus.find(await self.profiles(), gpu_type)
        model = None if facts is None else await self.compatibility(facts, gpu_type)
        return Recommendation(gpu, largest(gpu), general(gpu), model)

    async def compatibility(
        self, facts: Facts, gpu_type: str, serving: Serving | None = None
    ) -> Compatibility:
        gpu = gpus.find(await self.profiles(), gpu_type)
        engine = engine_of(facts, serving or Serving())
        known = architectures.support(facts, engine, await self.supported_models())
        fit, flags = advised(facts, gpu, serving)
        return Compatibility(gpu, known, fit, flags)

    async def supported_models(self) -> Registry:
        return await asyncio.to_thread(architectures.newest, self._data_dir)

    async def architecture(self, name: str) -> Architecture:
        registry = await self.supported_models()
        known = {one.name: one for one in registry.architectures}
        if name in known:
            return known[name]
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        raise Rejected(
            "not_found",
            f"vLLM did not list an architecture {name} as of {registry.as_of}",
            remedy=f"did you mean {near[0]}?" if near else "",
        )

    async def model_info(
        self, repo: str, revision: str, token: str = "", file: str = ""
    ) -> ModelInfo:
        async with self._turns:
            found = await facts_of(self._hub, repo, revision, token, file)
        facts, listing = found.facts, found.listing
        engine = engine_of(facts, Serving())
        known = architectures.support(facts, engine, await self.supported_models())
        return ModelInfo(repo, revision, listing.commit, listing.license, facts, known)

    async def _machines(self) -> Sequence[Node]:
        """Those of a moment ago; none while the world does not answer: advice goes on without."""
        if self._nodes is None:
            return ()
        if time.monotonic() >= self._due:
            try:
                async with asyncio.timeout(NODES_SECONDS):
                    self._seen = tuple(await self._nodes())
            except (Rejected, TimeoutError):
                self._seen = ()
            self._due = time.monotonic() + FRESH_SECONDS
        return self._seen
