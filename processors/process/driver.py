"""Models served by processes of this machine: started, watched, restarted, stopped, found again.

A server belongs to no supervisor. It is in a session of its own and outlives mllm; whoever comes
next finds it by the lock that it holds.
"""

import asyncio
import contextlib
import platform
from collections.abc import AsyncIterator, Generator, Sequence
from itertools import compress
from pathlib import Path

from processors.driver import DriverUnavailable, Instance, Present, Sight
from processors.process import holding, logs, places, sights, starting
from processors.process.devices import Cards, pick
from processors.process.environment import environment
from processors.process.holding import Facts
from processors.process.keys import EngineKeys
from processors.process.life import Life, Manners, bury
from processors.process.places import Place
from processors.process.recipes import Recipe, Recipes

Key = tuple[str, str, str]


class ProcessDriver:
    """The `Driver` of one machine. `data_dir` is where it keeps what must be found again."""

    replaces_in_place = False
    most_replicas = 1

    def __init__(self, data_dir: Path, recipes: Recipes, manners: Manners | None = None) -> None:
        self._root = places.runtime(data_dir)
        self._recipes = recipes
        self._keys = EngineKeys(data_dir)
        self._manners = manners or Manners()
        self._cards = Cards()
        self._node = platform.node()
        self._lives: dict[Key, Life] = {}

    async def ensure(self, instance: Instance, *, correct: bool = True) -> Sight:
        life = self._life(instance.namespace, instance.slot, instance.served.id)
        async with life.turn:
            with _world(life.place):
                life.instance = instance
                if not instance.replicas or life.ending is not None:
                    ended = await life.end()
                    if not instance.replicas or not ended:
                        return self._tell(life, sights.resting(instance, ended=ended))
                await life.observe()
                if life.due:
                    await self._start(life, instance)
                return self._tell(life, sights.sight(life, instance, self._node))

    async def idle(self, instance: Instance) -> bool:
        life = self._life(instance.namespace, instance.slot, instance.served.id)
        async with life.turn:
            with _world(life.place):
                seen = await asyncio.to_thread(holding.look, life.place)
                if seen.server is None:
                    return True
                return await asyncio.to_thread(holding.callers, seen.server) == 0

    async def remove(self, present: Present) -> bool:
        life = self._life(present.namespace, present.slot, present.activation)
        async with life.turn:
            with _world(life.place):
                gone = await life.end() and await asyncio.to_thread(bury, life.place)
        if gone:
            self._lives.pop((present.namespace, present.slot, present.activation), None)
        return gone

    async def present(self) -> Sequence[Present]:
        with _world(None):
            found = await asyncio.to_thread(places.wanted, self._root)
        return [Present(place.namespace, place.slot, place.activation) for place in found]

    async def changes(self) -> AsyncIterator[tuple[str, str]]:
        while True:
            lives = list(self._lives.values())
            stirred = await asyncio.gather(*(self._stirred(life) for life in lives))
            for life in compress(lives, stirred):
                yield life.place.namespace, life.place.slot
            await asyncio.sleep(self._manners.poll)

    async def _stirred(self, life: Life) -> bool:
        """Whether it differs from what was last told, or may be started."""
        if life.turn.locked() or life.instance is None:
            return False  # whoever is at it will see
        async with life.turn:
            try:
                await life.observe(calm=True)
                await asyncio.to_thread(logs.rotate, life.place.log)
            except OSError:
                return False
            stirred = life.told != life.stir
            life.told = life.stir
            return stirred

    async def _start(self, life: Life, instance: Instance) -> None:
        recipe = await self._recipes(instance)
        if not await asyncio.to_thread(starting.prepare, life.place):
            return  # the next look finds it free
        facts = await self._facts(life, instance, recipe)
        life.secrets = recipe.secrets
        key = await asyncio.to_thread(self._keys.variables, life.place)
        env = environment(life.place, facts, recipe.variables, key)
        life.start(recipe.command(facts.port), env, facts)

    async def _facts(self, life: Life, instance: Instance, recipe: Recipe) -> Facts:
        others = await asyncio.to_thread(servers, self._root)
        wanted = instance.served.manifest.resources.gpus
        taken = [device for other in others for device in other.devices]
        before = holding.read(life.place)
        return Facts(
            port=starting.free_port([other.port for other in others]),
            health=recipe.engine.health,
            model=instance.served.model,
            restarts=before.restarts + 1 if before else life.restarts + bool(life.deaths),
            gpus=wanted,
            devices=pick(await self._cards(), taken, wanted) if wanted else (),
        )

    def _tell(self, life: Life, sight: Sight) -> Sight:
        life.told = life.stir
        return sight

    def _life(self, namespace: str, slot: str, activation: str) -> Life:
        place = places.place(self._root, namespace, slot, activation)
        return self._lives.setdefault((namespace, slot, activation), Life(place, self._manners))


def servers(root: Path) -> list[holding.Record]:
    """Every server that runs. Raises `OSError`."""
    seen = (holding.look(place) for place in places.wanted(root))
    return [look.server for look in seen if look.server is not None]


@contextlib.contextmanager
def _world(place: Place | None) -> Generator[None]:
    """What the file system or the kernel refuses is said as the port has it."""
    try:
        yield
    except OSError as error:
        where = error.filename or (place.folder if place else "")
        raise DriverUnavailable(f"{where}: {error.strerror or error}") from error
