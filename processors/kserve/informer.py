"""Objects of one kind as they are now: listed once, and then told of by a watch.

A watch that is cut goes on from the last version it told of, bookmarks included; when the server no
longer knows that version (410, as an answer or as an event) everything is listed again. Of what
arrives only that is kept which the filter wants, and of that only the shape.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, NoReturn

import msgspec

from processors.ending import end
from processors.kserve.cluster import Cluster
from processors.kserve.kinds import Meta, O, Observed, slim
from processors.kserve.reading import Wanted
from processors.kserve.refusals import ClusterError, Status, told

BRIEF = 1.0
"""A watch that ends sooner has failed, whatever it says."""

logger = logging.getLogger(__name__)


class Rest(NamedTuple):
    """How long to wait after a failure: the first time, and at most. Seconds, jittered."""

    first: float = 0.5
    most: float = 30.0

    def after(self, failures: int) -> float:
        return min(self.most, self.first * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)


class Line(msgspec.Struct):
    type: str
    object: msgspec.Raw = msgspec.Raw(b"{}")


class Informer(Generic[O]):
    """`changed` is called with every object that came, went or is not as it was.

    `after` is a version to begin watching from, instead of listing first.
    """

    def __init__(
        self,
        cluster: Cluster,
        wanted: Wanted[O],
        changed: Callable[[O], None],
        rest: Rest | None = None,
        after: str = "",
    ) -> None:
        self._cluster = cluster
        self._wanted = wanted
        self._changed = changed
        self._rest = rest or Rest()
        self._version = after
        self._kept: dict[str, O] = {}
        self._again = asyncio.Event()
        self._complaint = ""
        self.fresh = False
        self.lists = 0

    @property
    def kept(self) -> Mapping[str, O]:
        """By name. To be relied on while `fresh`."""
        return self._kept

    def again(self) -> None:
        """List once more: the filter has come to want what it did not."""
        self.fresh = False
        self._again.set()

    async def run(self) -> NoReturn:
        """For ever. What is kept is not fresh any more when this is cancelled."""
        try:
            await self._follow()
        finally:
            self.fresh = False

    async def _follow(self) -> NoReturn:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                if await self._until_asked_again():
                    continue
            except ClusterError as error:
                self._fail(error, failures)
            lasted = time.monotonic() - began >= BRIEF
            failures = 0 if lasted else failures + 1
            await asyncio.sleep(0 if lasted else self._rest.after(failures - 1))

    async def _until_asked_again(self) -> bool:
        """False when the watch has come to its end instead, as they all do after a while."""
        if not self._version:
            await self._list()
        watching = asyncio.create_task(self._watch())
        asked = asyncio.create_task(self._again.wait())
        try:
            await asyncio.wait({watching, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(watching, asked)
        if not watching.cancelled():
            watching.result()
            return False
        self._again.clear()
        self._version = ""
        return True

    async def _list(self) -> None:
        seen: dict[str, O] = {}
        version = ""
        async for page in self._cluster.pages(self._wanted.kind, self._wanted.selection):
            for raw in page.items:
                if (found := self._shaped(raw)) and self._wanted.keep(found):
                    seen[found.metadata.name] = slim(found)
            version = page.version
        self.lists += 1
        self._replace(seen)
        self._version = version

    def _replace(self, seen: dict[str, O]) -> None:
        before, self._kept = self._kept, seen
        for name in before.keys() - seen.keys():
            self._changed(before[name])
        for name, found in seen.items():
            if before.get(name) != found:
                self._changed(found)

    async def _watch(self) -> None:
        wanted = self._wanted
        async with self._cluster.watch(wanted.kind, wanted.selection, self._version) as lines:
            self.fresh = not self._again.is_set()
            self._complaint = ""
            async for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = msgspec.json.decode(line, type=Line)
            if said.type == "ERROR":
                status = msgspec.json.decode(said.object, type=Status)
                raise told(status.code or 500, status)
            meta = msgspec.json.decode(said.object, type=Observed).metadata
        except msgspec.MsgspecError as error:
            raise ClusterError("expired", "a watch said what can not be read") from error
        if said.type != "BOOKMARK":
            self._put(said, meta)
        self._version = meta.resource_version or self._version

    def _put(self, said: Line, meta: Meta) -> None:
        found = self._shaped(said.object)
        before = self._kept.get(meta.name)
        if said.type == "DELETED" or found is None or not self._wanted.keep(found):
            if before is not None:
                del self._kept[meta.name]
                self._changed(before)
            return
        now = slim(found)
        if now != before:
            self._kept[meta.name] = now
            self._changed(now)

    def _shaped(self, raw: msgspec.Raw) -> O | None:
        """None for an object that is not as its kind should be: it is no reason to see no other."""
        try:
            return msgspec.json.decode(raw, type=self._wanted.shape)
        except msgspec.MsgspecError as error:
            logger.warning("a %s is not understood: %s", self._wanted.kind.name, error)
            return None

    def _fail(self, error: ClusterError, failures: int) -> None:
        self.fresh = False
        if error.code == "expired":
            self._version = ""
        if str(error) != self._complaint:
            # Watches are cut now and then; one that can not be taken up again is worth a warning,
            # once, and not each time that it is tried.
            level = logging.WARNING if failures else logging.INFO
            self._complaint = str(error) if failures else ""
            logger.log(level, "%s can not be watched: %s", self._wanted.kind.plural, error)
