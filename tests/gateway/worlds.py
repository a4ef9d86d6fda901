"""Small worlds that models run in, and advice, as a test says."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.advice import (
    Architecture,
    Compatibility,
    Fit,
    GpuProfile,
    ModelInfo,
    Recommendation,
    Registry,
    Serving,
    Support,
)
from schemas.checks import Capacity, Check
from schemas.facts import Facts
from schemas.manifest import Manifest
from schemas.message import Rejected
from schemas.workloads import Node, WorldEvent

FACTS = Facts(
    format="safetensors",
    architecture="LlamaForCausalLM",
    parameters=8_000_000_000,
    context=8192,
    notes=("one tensor was not read",),
)
CARD = GpuProfile("l40s", "NVIDIA L40S", "nvidia", 48 << 30)
PRESENT = Check("weights", "pass", "the weights are installed")


class World:
    """`Workloads` with what a test puts there: lines by pod, events by slot.

    Pods that are `over` write nothing more.
    """

    def __init__(self) -> None:
        self.refusal: Rejected | None = None
        self.lines: dict[str, list[bytes]] = {}
        self.over: set[str] = set()
        self.happened: dict[str, list[WorldEvent]] = {}
        self.machines: list[Node] = [Node("here", True, 4, 3)]

    async def logs(
        self, namespace: str, pod: str, *, follow: bool, tail: int, container: str = ""
    ) -> AsyncIterator[bytes]:
        self._refuse()
        if pod not in self.lines:
            raise Rejected("not_found", f"no pod {pod}")
        for line in self.lines[pod][-tail:]:
            yield line
        while follow and pod not in self.over:
            yield await self.more(pod)

    async def more(self, pod: str) -> bytes:
        """The next line of a pod; a world in which nothing happens has none."""
        return await asyncio.Future[bytes]()

    async def events(self, namespace: str, slot: str, since: datetime) -> Sequence[WorldEvent]:
        self._refuse()
        return [event for event in self.happened.get(slot, ()) if event.at >= since]

    async def nodes(self) -> Sequence[Node]:
        self._refuse()
        return self.machines

    async def preview(self, manifest: Manifest, namespace: str, slot: str) -> dict[str, Any]:
        self._refuse()
        return {"command": ["serve", manifest.id], "slot": slot, "namespace": namespace}

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal


class Checks:
    """An `Inspector` that finds what a test says: GPUs enough, weights in place."""

    def __init__(self) -> None:
        self.found: tuple[Check, ...] = (PRESENT,)
        self.free = 4

    async def check(
        self, manifest: Manifest, namespace: str, *, slot: str = ""
    ) -> tuple[Check, ...]:
        return self.found

    async def capacity(self, manifest: Manifest, namespace: str, *, slot: str = "") -> Capacity:
        return Capacity(manifest.resources.gpus, self.free, 4)


class Advice:
    """An `Advisor` that knows one card and every repository."""

    def __init__(self) -> None:
        self.asked: list[Serving | None] = []
        self.cards: list[GpuProfile] = [CARD]

    async def profiles(self) -> Sequence[GpuProfile]:
        return self.cards

    async def recommend(
        self, gpu_type: str, facts: Facts | None = None, serving: Serving | None = None
    ) -> Recommendation:
        return Recommendation(self._card(gpu_type), (), ())

    async def compatibility(
        self, facts: Facts, gpu_type: str, serving: Serving | None = None
    ) -> Compatibility:
        self.asked.append(serving)
        support = Support("vllm", facts.architecture, True, "in the registry")
        fit = Fit("fits", 2, 2, 1, facts.context, 1, CARD.memory, 1, 1, 1, 1, 1, 1, 1, 1, 1)
        return Compatibility(self._card(gpu_type), support, fit)

    async def supported_models(self) -> Registry:
        return Registry("2026-11-01", "vLLM", ())

    async def architecture(self, name: str) -> Architecture:
        raise Rejected("not_found", f"no architecture {name}")

    async def model_info(
        self, repo: str, revision: str, token: str = "", file: str = ""
    ) -> ModelInfo:
        support = Support("vllm", FACTS.architecture, True, "in the registry")
        return ModelInfo(repo, revision, "c" * 40, "apache-2.0", FACTS, support)

    def _card(self, gpu_type: str) -> GpuProfile:
        if gpu_type.lower() not in (CARD.type, CARD.name.lower()):
            raise Rejected("not_found", f"no card {gpu_type}")
        return CARD


def warning(reason: str, message: str) -> WorldEvent:
    return WorldEvent(datetime.now(UTC), "warning", reason, message, "pod/p")


def plain(value: msgspec.Struct) -> Any:
    """As it looks in JSON."""
    return msgspec.to_builtins(value)
