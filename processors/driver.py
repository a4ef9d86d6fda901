"""What the activator needs of a world in which models run: the `Driver` port.

There are two: processes of this machine (`processors/process/`) and KServe (`processors/kserve/`).
A driver keeps nothing in memory that it could not find again: what exists is asked of the world.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

from schemas.message import Value
from schemas.runtime import Served
from schemas.status import SlotStatus


class Instance(Value):
    """A model that is wanted in a slot. `served.id` tells it from every other there ever was.

    `settled`: it has answered before, so where nothing of it is found, it was taken away.
    """

    namespace: str
    slot: str
    served: Served
    replicas: int = 1
    settled: bool = False


class Present(NamedTuple):
    """Something that is there, wanted or not: whose activation it says it is."""

    namespace: str
    slot: str
    activation: str


class Sight(Value):
    """How an instance is. `url` is set when it answers. `drift` names what somebody else changed.

    `code` is set when it can not come up as things are, however long one waits.
    """

    status: SlotStatus
    url: str = ""
    code: str = ""
    drift: tuple[str, ...] = ()


class DriverUnavailable(Exception):
    """The world can not be asked, or told, now. The text is for people."""


class Driver(Protocol):
    """Every method is idempotent and returns soon; raises `DriverUnavailable`."""

    replaces_in_place: bool
    """Whether a new instance in the place of an old one takes over from it by itself."""

    most_replicas: int

    async def ensure(self, instance: Instance, *, correct: bool = True) -> Sight:
        """Bring it up, adopt it, or put it right; say how it is now.

        `correct`: undo what somebody else changed; else only say so. Raises `Rejected` when the
        instance can not be brought up at all (an unknown engine, a secret that is missing).
        """
        ...

    async def idle(self, instance: Instance) -> bool:
        """Whether it answers nobody any more: then it can go without anyone noticing."""
        ...

    async def remove(self, present: Present) -> bool:
        """Take it down, gently first. True once nothing of it is left."""
        ...

    async def present(self) -> Sequence[Present]:
        """Everything of ours that there is, wanted or not."""
        ...

    def changes(self) -> AsyncIterator[tuple[str, str]]:
        """Namespace and slot, whenever something happened there; for ever."""
        ...
