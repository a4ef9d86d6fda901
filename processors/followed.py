"""The event log as those need it who only follow it."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from schemas.log import Commit


class Followed(Protocol):
    """Both raise `LogUnavailable`."""

    def follow(self, after: int) -> AsyncIterator[Sequence[Commit]]:
        """Every commit past `after`, in order, for ever."""
        ...

    async def end(self) -> int:
        """The position of the newest commit."""
        ...
