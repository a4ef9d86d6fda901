"""How far each read model has come, in the row that moves in the same transaction as its rows."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeAlias

from psycopg.rows import class_row

from projections.statements import BESIDE
from projections.table import Db
from schemas.api.system import ProjectionStatus
from schemas.message import Rejected

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Db]]

TABLE = """
    CREATE TABLE IF NOT EXISTS checkpoints (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        name text NOT NULL UNIQUE,
        position bigint NOT NULL DEFAULT 0,
        version text NOT NULL DEFAULT '',
        rebuild_requested boolean NOT NULL DEFAULT false,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
"""

LOOK_SECONDS = 0.015


@dataclass
class Checkpoint:
    """`id` belongs to the rows as they were built once: a rebuilt read model has another.

    `version` is that of the fold and of the log which made the rows.
    """

    id: int
    name: str
    position: int
    version: str
    rebuild_requested: bool


READ = """
    SELECT id, name, position, version, rebuild_requested FROM checkpoints WHERE name = %s
"""


async def read(db: Db, name: str, *, lock: bool = False) -> Checkpoint | None:
    """`lock`: nobody moves it until the end of the transaction."""
    async with db.cursor(row_factory=class_row(Checkpoint)) as cursor:
        await cursor.execute(READ + " FOR UPDATE" if lock else READ, [name])
        return await cursor.fetchone()


async def status(db: Db, end: int) -> list[ProjectionStatus]:
    """Every read model's position, by name; `end` is the position of the log's newest commit."""
    cursor = await db.execute(
        "SELECT c.name, c.position, c.rebuild_requested OR beside.id IS NOT NULL"
        " FROM checkpoints c LEFT JOIN checkpoints beside ON beside.name = c.name || %s"
        " WHERE right(c.name, length(%s)) <> %s ORDER BY c.name",
        [BESIDE, BESIDE, BESIDE],
    )
    return [
        ProjectionStatus(name, position, max(0, end - position), rebuilding)
        for name, position, rebuilding in await cursor.fetchall()
    ]


async def request_rebuild(db: Db, name: str) -> int:
    """Have whoever runs the projection fold the log anew; returns what `built` says until then.

    Raises `Rejected` with `not_found`.
    """
    cursor = await db.execute(
        "UPDATE checkpoints SET rebuild_requested = true"
        " WHERE name = %s AND right(name, length(%s)) <> %s RETURNING id",
        [name, BESIDE, BESIDE],
    )
    if (row := await cursor.fetchone()) is None:
        raise Rejected("not_found", f"there is no projection {name}")
    return int(row[0])


async def built(db: Db, name: str) -> int:
    """Which rows are live: another number after every rebuild. 0 when there are none."""
    checkpoint = await read(db, name)
    return checkpoint.id if checkpoint else 0


@dataclass(eq=False)
class _Waiter:
    names: Sequence[str]
    position: int
    reached: "asyncio.Future[None]"


class Positions:
    """Waits for read models to have seen a position: one query for all who wait."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._waiters: set[_Waiter] = set()
        self._looking: asyncio.Task[None] | None = None

    async def reached(self, names: Sequence[str], position: int, within: float = 5.0) -> None:
        """Return once every named read model has seen the commit at `position`.

        Raises `Rejected` with `read_model_behind` after `within` seconds, and psycopg's errors.
        """
        waiter = _Waiter(names, position, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        limit = asyncio.timeout(within)
        try:
            async with limit:
                await waiter.reached
        except TimeoutError:
            if not limit.expired():
                raise
            text = f"the read model has not seen position {position} yet; ask again"
            raise Rejected("read_model_behind", text) from None
        finally:
            self._waiters.discard(waiter)

    async def _look(self) -> None:
        try:
            while self._waiters:
                async with self._connect() as db:
                    cursor = await db.execute("SELECT name, position FROM checkpoints")
                    self._tell(dict(await cursor.fetchall()))
                await asyncio.sleep(LOOK_SECONDS)
        except Exception as error:  # whatever it is, those who wait are the ones to know
            for waiter in self._waiters:
                if not waiter.reached.done():
                    waiter.reached.set_exception(error)

    def _tell(self, positions: Mapping[str, int]) -> None:
        for waiter in self._waiters:
            seen = min(positions.get(name, 0) for name in waiter.names)
            if seen >= waiter.position and not waiter.reached.done():
                waiter.reached.set_result(None)
