"""Read models as routes use them: fresh enough, as of some moment, or plainly not to be had."""

import asyncio
import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import psycopg
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from gateway.parameters import MinSequence, MinSequenceHeader
from projections import event_index
from projections.checkpoints import Connect, Positions
from projections.table import Db
from schemas.log import EventLog
from schemas.message import Rejected

CONNECT_SECONDS = 3.0
QUERY_SECONDS = 10.0
SEQUENCE = re.compile(r"(?:seq:)?([0-9]{1,18})")


class View(NamedTuple):
    """A connection, and the position as of which to read; None is now."""

    db: Db
    as_of: int | None


class Reading:
    """Every method raises `Rejected` with `read_models_unavailable`, and `LogUnavailable`."""

    def __init__(self, connect: Connect, log: EventLog) -> None:
        self._connect = connect
        self._log = log
        self._positions = Positions(self.connection)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Db]:
        """A connection, for as long as a request may take."""
        async with AsyncExitStack() as stack:
            with _answering():
                async with asyncio.timeout(CONNECT_SECONDS):
                    db = await stack.enter_async_context(self._connect())
            with _answering():
                async with asyncio.timeout(QUERY_SECONDS):
                    yield db

    @asynccontextmanager
    async def open(
        self, models: Sequence[str], min_sequence: int = 0, as_of: str | None = None
    ) -> AsyncGenerator[View]:
        """A view in which `models` have seen `min_sequence`, and what `as_of` means.

        Raises `Rejected`: `sequence_beyond_log`, `read_model_behind`, `invalid` for a moment that
        is none.
        """
        then = None if as_of is None else await self._position(as_of)
        wanted = max(min_sequence, then or 0)
        if wanted:
            await self._refuse_beyond(wanted)
            with _answering():
                await self._positions.reached(models, wanted)
        async with self.connection() as db:
            yield View(db, then)

    async def _position(self, as_of: str) -> int:
        if match := SEQUENCE.fullmatch(as_of):
            return int(match[1])
        then = moment(as_of)
        with _answering():
            await self._positions.reached([event_index.projection.name], await self._log.end())
        async with self.connection() as db:
            return await event_index.position_at(db, then)

    async def _refuse_beyond(self, position: int) -> None:
        end = await self._log.end()
        if position > end:
            raise Rejected(
                "sequence_beyond_log", f"the log ends at {end}, before {position}", end=end
            )


@contextmanager
def _answering() -> Generator[None]:
    """Postgres away, or busy beyond patience, is one refusal."""
    try:
        yield
    except (TimeoutError, OSError, psycopg.OperationalError, psycopg.InterfaceError) as error:
        text = "the read models do not answer"
        raise Rejected("read_models_unavailable", text) from error


def moment(text: str) -> datetime:
    """Raises `Rejected` with `invalid`."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise ValueError("a time without an offset")
        return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        why = f"{text!r} is neither a time (RFC 3339, with its offset) nor a position (`seq:4711`)"
        raise Rejected("invalid", why) from error


async def provide_min_sequence(
    min_sequence: MinSequence = None, min_sequence_header: MinSequenceHeader = None
) -> int:
    return max(min_sequence or 0, min_sequence_header or 0)


Fresh: TypeAlias = NamedDependency[SkipValidation[int]]
Models: TypeAlias = NamedDependency[SkipValidation[Reading]]
