"""A world in which models run, in memory: it does as a test says, and remembers what it did."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from processors.driver import DriverUnavailable, Instance, Present, Sight
from schemas.message import Rejected
from schemas.status import Health, PodStatus, SlotStatus


@dataclass
class Standing:
    """One instance that stands there."""

    instance: Instance
    health: Health = "starting"
    code: str = ""
    message: str = ""
    busy: bool = False


@dataclass
class World:
    """A `Driver`. What comes up is `loading`, and answers when the test says, or at once.

    `silent`: models that never answer. `drift`: what somebody else keeps changing. `corrected`: the
    models that were to be put right.
    """

    replaces_in_place: bool = False
    most_replicas: int = 1
    quick: bool = False
    away: bool = False
    refusal: Rejected | None = None
    failing: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    standing: dict[Present, Standing] = field(default_factory=dict[Present, Standing])
    silent: set[str] = field(default_factory=set[str])
    pods: int = 0
    drift: tuple[str, ...] = ()
    corrected: set[str] = field(default_factory=set[str])
    begun: list[str] = field(default_factory=list[str])
    most_at_once: int = 0
    stirred: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue[tuple[str, str]])

    @property
    def models(self) -> list[str]:
        """Who stands there, in alphabetical order."""
        return sorted(standing.instance.served.model for standing in self.standing.values())

    def set(self, model: str, health: Health) -> None:
        """Let what stands there of a model be so from now on."""
        for present, standing in self.standing.items():
            if standing.instance.served.model == model:
                standing.health = health
                self.stirred.put_nowait(present[:2])

    def busy(self, model: str, busy: bool) -> None:
        for standing in self.standing.values():
            if standing.instance.served.model == model:
                standing.busy = busy

    async def ensure(self, instance: Instance, *, correct: bool = True) -> Sight:
        self._answer()
        model = instance.served.model
        if correct:
            self.corrected.add(model)
        if self.refusal is not None and model in str(self.refusal):
            raise self.refusal
        present = Present(instance.namespace, instance.slot, instance.served.id)
        if present not in self.standing:
            health: Health = "ready" if self.quick and model not in self.silent else "loading"
            self.standing[present] = Standing(instance, health)
            self.begun.append(model)
            self.most_at_once = max(self.most_at_once, len(self.standing))
        standing = self.standing[present]
        code, message = self.failing.get(model, ("", ""))
        health = "failed" if code else standing.health
        url = f"http://{model}" if health == "ready" else ""
        pods = tuple(PodStatus(f"{model}-{n}", "Running") for n in range(self.pods))
        status = SlotStatus(health, model, instance.served.id, message, url, pods=pods)
        return Sight(status=status, url=url, code=code, drift=self.drift)

    async def idle(self, instance: Instance) -> bool:
        self._answer()
        present = Present(instance.namespace, instance.slot, instance.served.id)
        return present not in self.standing or not self.standing[present].busy

    async def remove(self, present: Present) -> bool:
        self._answer()
        self.standing.pop(present, None)
        return True

    async def present(self) -> Sequence[Present]:
        self._answer()
        return list(self.standing)

    async def changes(self) -> AsyncIterator[tuple[str, str]]:
        while True:
            yield await self.stirred.get()

    def _answer(self) -> None:
        if self.away:
            raise DriverUnavailable("the world is away")
