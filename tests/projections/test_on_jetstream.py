"""Every read model at once, on a real log that goes away and comes back."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from commands.jetstream import JetStreamLog
from projections import jobs
from projections.catalog import PROJECTIONS
from projections.checkpoints import status
from projections.sharing import SharedLog
from projections.table import Db
from schemas.log import Commit, Head, Stream
from schemas.message import Context
from tests.contract import logs
from tests.projections.keeping import assert_equal_to_a_fold, position, running
from tests.projections.telling import Told, anything, install
from tests.servers import Server
from tests.support import eventually


async def test_read_models_survive_a_restart_of_nats(
    db: Db, database_url: str, private_nats: Callable[[], Awaitable[Server]]
) -> None:
    server = await private_nats()
    heads: dict[Stream, Head] = {}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(logs.connected([server.url]))
        await logs.make_stream(client, "")
        log = await stack.enter_async_context(logs.opened(client, ""))
        shared = SharedLog(log)
        for projection in PROJECTIONS:
            await stack.enter_async_context(running(projection, shared, database_url))

        written = await _write(log, heads, seed=1)
        await eventually(lambda: _caught_up(db, len(written)))
        server.kill()
        await server.start()
        written += await _write(log, heads, seed=2)
        await eventually(lambda: _caught_up(db, len(written)))

    for projection in PROJECTIONS:
        await assert_equal_to_a_fold(db, projection, written)


async def test_a_runner_whose_log_is_gone_for_good_lets_go_of_its_lease(
    db: Db, database_url: str, nats_url: str, stream_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(logs.connected([nats_url]))
        await logs.make_stream(client, stream_prefix)
        log = await stack.enter_async_context(logs.opened(client, stream_prefix))
        await stack.enter_async_context(running(jobs.projection, SharedLog(log), database_url))
        written = await _write(log, {}, seed=1)
        await eventually(lambda: _reached(db, len(written)))

        await client.close()

        await eventually(lambda: _said(caplog, "jobs pauses: the connection to NATS is closed"))
        standby = Told()
        standby.commits = written
        install(standby)
        async with running(jobs.projection, standby, database_url):
            await eventually(lambda: _reached(db, len(standby.commits)))


async def _reached(db: Db, end: int) -> bool:
    return await position(db, "jobs") == end


async def _said(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return text in caplog.text


async def _write(log: JetStreamLog, heads: dict[Stream, Head], seed: int) -> list[Commit]:
    told = Told()
    anything(told, 60, seed)
    written: list[Commit] = []
    for commit in told.commits:
        context = Context(
            command=f"{seed}-{commit.position}", at=commit.at, actor=commit.actor, correlation="r"
        )
        at = heads.get(commit.stream, Head())
        written.append(await log.append(commit.stream, at, commit.events, context))
        heads[commit.stream] = Head(written[-1].position, written[-1].hash)
    return written


async def _caught_up(db: Db, end: int) -> bool:
    return all(one.lag == 0 for one in await status(db, end))
