"""Reads that wait until their read model has seen a write."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import AsyncConnection

from projections import jobs
from projections.catalog import PROJECTIONS
from projections.checkpoints import Positions, status
from projections.table import Db
from schemas.message import Rejected
from tests.projections.keeping import writer
from tests.projections.telling import Told, install
from tests.support import PATIENCE, eventually


class Opened:
    """Opens connections to a database, and counts them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.now = self.most = self.times = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncGenerator[Db]:
        self.now += 1
        self.times += 1
        self.most = max(self.most, self.now)
        async with await AsyncConnection.connect(self._url, autocommit=True) as db:
            yield db
        self.now -= 1


async def test_many_wait_on_one_connection_and_go_on_together(db: Db, database_url: str) -> None:
    told = Told()
    install(told)
    opened = Opened(database_url)
    positions = Positions(opened)
    waiting = [asyncio.create_task(positions.reached(["jobs"], 5, PATIENCE)) for _ in range(50)]
    behind = asyncio.create_task(positions.reached(["jobs", "weights"], 5, within=0.3))
    live = await writer(db, jobs.projection)
    await live.advance(told.commits[:4])
    before = opened.times

    async def looked() -> bool:
        return opened.times > before + 1

    await eventually(looked)
    assert not any(task.done() for task in waiting)
    await live.advance(told.commits[4:5])

    await asyncio.gather(*waiting)
    assert opened.most == 1
    with pytest.raises(Rejected):
        await behind


async def test_what_has_been_seen_is_not_waited_for(db: Db, database_url: str) -> None:
    await Positions(Opened(database_url)).reached(["jobs"], 0, PATIENCE)


async def test_a_read_model_that_stays_behind_is_reported(db: Db, database_url: str) -> None:
    with pytest.raises(Rejected) as refusal:
        await Positions(Opened(database_url)).reached(["jobs"], 1, within=0.1)
    assert refusal.value.code == "read_model_behind"


async def test_a_database_that_is_away_is_no_waiting(db: Db) -> None:
    away = Opened("postgresql://127.0.0.1:1/none?connect_timeout=1")
    with pytest.raises(psycopg.OperationalError):
        await Positions(away).reached(["jobs"], 1, PATIENCE)


async def test_status_tells_how_far_each_read_model_is(db: Db) -> None:
    told = Told()
    install(told)
    await (await writer(db, jobs.projection)).advance(told.commits[:3])
    said = {status.name: (status.position, status.lag) for status in await status(db, 8)}
    assert said["jobs"] == (3, 5)
    assert said["weights"] == (0, 8)
    assert len(said) == len(PROJECTIONS)
