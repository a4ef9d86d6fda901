"""What may be asked of the processes that serve models here: logs, events, this machine."""

import asyncio
import platform
import re
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from processors.process import events, logs, places
from processors.process.devices import Cards
from processors.process.driver import servers
from processors.process.places import POD, Place
from processors.process.recipes import Recipes
from processors.process.sights import CONTAINER
from schemas.manifest import Manifest
from schemas.message import Rejected
from schemas.names import NAMESPACE, SLOT
from schemas.workloads import Node, WorldEvent


class ProcessWorkloads:
    """The `Workloads` of one machine."""

    def __init__(self, data_dir: Path, recipes: Recipes) -> None:
        self._root = places.runtime(data_dir)
        self._recipes = recipes
        self._cards = Cards()

    async def logs(
        self, namespace: str, pod: str, *, follow: bool, tail: int, container: str = ""
    ) -> AsyncIterator[bytes]:
        place = await asyncio.to_thread(self._find, namespace, pod)
        if place is None or container not in ("", CONTAINER):
            raise Rejected("not_found", f"there is no {container or 'process'} of that name")
        mask = await self._recipes.mask(namespace)
        lines = logs.read(place.log, tail=tail, follow=follow, over=lambda: not place.lock.exists())
        async for chunk in mask.lines(lines):
            yield chunk

    async def events(self, namespace: str, slot: str, since: datetime) -> Sequence[WorldEvent]:
        if not (re.fullmatch(NAMESPACE, namespace) and re.fullmatch(SLOT, slot)):
            raise Rejected("not_found", "there is no such slot")
        return await asyncio.to_thread(events.since, self._root / namespace / slot, since)

    async def nodes(self) -> Sequence[Node]:
        cards = await self._cards()
        running = await asyncio.to_thread(servers, self._root)
        taken = sum(server.gpus for server in running)
        node = Node(
            name=platform.node(),
            ready=True,
            gpus=len(cards),
            gpus_free=max(0, len(cards) - taken),
            gpu_product=cards[0].product if cards else "",
            gpu_memory=cards[0].memory if cards else 0,
        )
        return [node]

    async def preview(self, manifest: Manifest, namespace: str, slot: str) -> dict[str, Any]:
        return {"slot": slot, **await self._recipes.preview(manifest, namespace)}

    def _find(self, namespace: str, pod: str) -> Place | None:
        """The instance of that name, the youngest if several ever had it."""
        if not (re.fullmatch(NAMESPACE, namespace) and re.fullmatch(POD, pod)):
            return None
        named = [place for place in places.places(self._root, namespace) if place.pod == pod]
        return max(named, key=lambda place: (place.lock.exists(), place.activation), default=None)
