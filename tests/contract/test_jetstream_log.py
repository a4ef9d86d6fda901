"""What only the log on NATS can do, or suffer."""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from cli.embedded import nats as embedded_nats
from cli.embedded.child import Part
from commands.decider import handle
from commands.jetstream import JetStreamLog, LogNames
from commands.job import decider
from schemas.job import JobProgress, RequestJob, VerifySpec
from schemas.log import Ambiguous, EventLog, Head, LogUnavailable
from schemas.message import Event, Rejected
from schemas.upcasting import UnknownEvent
from tests.contract import logs
from tests.contract.logs import STARTED, context, read, stream
from tests.servers import Server
from tests.support import PATIENCE, eventually

J1 = stream("j1")
BIG = [JobProgress("x" * 100_000, 1, "fetch")]
SMALL_SERVER = """\
listen: 127.0.0.1:{port}
jetstream {{ store_dir: "{store}", sync_interval: always, max_file_store: 1MB }}
"""


ENDLESS = 100 * PATIENCE
"""The patience of a log that has to answer without its coming to an end."""


async def fill(log: EventLog) -> None:
    """Append until the log takes no more; it says so at once, whatever its patience."""
    async with asyncio.timeout(PATIENCE):
        for number in range(100):
            try:
                await log.append(stream(f"j{number}"), Head(), BIG, context(f"c{number}"))
            except LogUnavailable as refusal:
                assert "takes no more" in str(refusal)  # noqa: PT017
                return
    raise AssertionError("it never was full")


async def test_a_full_log_refuses_at_once_and_can_still_be_read(
    nats_url: str, stream_prefix: str
) -> None:
    async with logs.connected([nats_url]) as client:
        await logs.make_stream(client, stream_prefix, room=512 * 1024)
        async with logs.opened(client, stream_prefix, patience=ENDLESS) as log:
            await fill(log)
            request = RequestJob("j1", "x" * 100_000, "s1", 1, VerifySpec())
            with pytest.raises(LogUnavailable):
                await handle(log, decider, request, context("one more"))
            end = await log.end()
            assert len(await read(log, 0, end)) == end


async def test_an_append_waits_for_a_stream_that_nobody_leads_yet(
    nats_url: str, stream_prefix: str
) -> None:
    async with (
        logs.connected([nats_url]) as client,
        logs.opened(client, stream_prefix) as log,
        asyncio.TaskGroup() as tasks,
    ):
        appended = tasks.create_task(log.append(J1, Head(), [STARTED], context("c1")))
        await asyncio.sleep(0)
        await client.flush()  # the server has seen it, and had nobody to give it to
        await logs.make_stream(client, stream_prefix)
        assert (await appended).position == 1


async def test_a_stream_that_is_led_by_nobody_for_long_certainly_took_nothing(
    nats_url: str, stream_prefix: str
) -> None:
    async with (
        logs.connected([nats_url]) as client,
        logs.opened(client, stream_prefix, patience=0.2) as log,
    ):

        async def certain() -> bool:
            with pytest.raises((LogUnavailable, Ambiguous)) as refused:
                await log.append(J1, Head(), [STARTED], context("c1"))
            if isinstance(refused.value, Ambiguous):  # the server's word came too late
                return False
            assert "can not be written" in str(refused.value)
            return True

        await eventually(certain)


@pytest.fixture
async def small_server(tmp_path: Path) -> AsyncGenerator[Server]:
    """A NATS that may keep one megabyte, all in all."""
    [port] = embedded_nats.free_ports(1)
    config = tmp_path / "nats.conf"
    config.write_text(SMALL_SERVER.format(port=port, store=tmp_path / "store"))
    url = f"nats://127.0.0.1:{port}"
    argv = (str(embedded_nats.binary()), "-c", str(config))
    part = Part("nats", argv, partial(embedded_nats.answers, url), embedded_nats.ENV)
    server = Server(part, url, tmp_path / "nats.log")
    await server.start()
    yield server
    server.stop()


async def test_a_full_server_refuses_at_once(small_server: Server) -> None:
    async with logs.connected([small_server.url]) as client:
        await logs.make_stream(client, "t", room=-1)
        async with logs.opened(client, "t", patience=ENDLESS) as log:
            await fill(log)


async def test_more_about_a_command_than_fits_its_headers_is_refused(
    jetstream_log: JetStreamLog,
) -> None:
    with pytest.raises(Rejected, match="too long") as refused:
        await jetstream_log.append(J1, Head(), [STARTED], context("c1", actor="é" * 1000))
    assert refused.value.code == "invalid"
    assert await jetstream_log.end() == 0


class JobTeleported(Event, tag="job.teleported"):
    """Something that a later version of ours may say."""

    job: str


async def test_what_a_newer_version_wrote_is_passed_on_and_not_misread(
    jetstream_log: JetStreamLog,
) -> None:
    events = [STARTED, JobTeleported("j1")]
    await jetstream_log.append(J1, Head(), events, context("c1"))  # type: ignore[arg-type]

    [commit] = await jetstream_log.load(J1)

    assert await read(jetstream_log, 0, 1) == [commit]
    assert commit.types == ("job.started", "job.teleported")
    assert commit.data == msgspec.json.encode(events)
    with pytest.raises(UnknownEvent, match=r"job\.teleported"):
        assert commit.events


async def test_a_log_knows_which_one_it_is(jetstream_log: JetStreamLog) -> None:
    assert await jetstream_log.epoch() == "e1"


async def test_several_installations_share_a_server(
    nats_url: str, stream_prefix: str, jetstream_log: JetStreamLog
) -> None:
    other = f"{stream_prefix}other"
    async with logs.connected([nats_url]) as client:
        await logs.make_stream(client, other)
        async with logs.opened(client, other) as log:
            await log.append(J1, Head(), [STARTED], context("c1"))
            assert await log.end() == 1
    assert await jetstream_log.end() == 0


async def test_a_log_that_was_never_made_is_unavailable(nats_url: str) -> None:
    async with logs.connected([nats_url]) as client:
        log = JetStreamLog(client, LogNames("nowhere"), patience=0.5)
        await log.start()
        for asked in (log.load(J1), log.end(), log.fetch([1]), log.epoch()):
            with pytest.raises(LogUnavailable):
                await asked
        request = RequestJob("j1", "org/model", "s1", 1, VerifySpec())
        with pytest.raises(LogUnavailable):
            await handle(log, decider, request, context("c1"))
        await log.stop()


async def test_histories_longer_than_one_batch_are_loaded_whole(
    jetstream_log: JetStreamLog,
) -> None:
    at = Head()
    for number in range(1100):
        commit = await jetstream_log.append(J1, at, [STARTED], context(f"c{number}"))
        at = Head(commit.position, commit.hash)

    history = await jetstream_log.load(J1)

    assert [commit.position for commit in history] == list(range(1, 1101))


async def test_many_histories_are_loaded_at_once(jetstream_log: JetStreamLog) -> None:
    for number in range(40):
        await jetstream_log.append(stream(f"j{number}"), Head(), [STARTED], context(f"c{number}"))

    histories = await asyncio.gather(*(jetstream_log.load(stream(f"j{n}")) for n in range(40)))

    assert [history[0].command for history in histories] == [f"c{n}" for n in range(40)]
