"""Commits as a server keeps them are read as they were written, whichever version wrote them."""

from nats.aio.client import Client

from commands.jetstream import LogNames
from schemas.log import Commit, Stream, broken_link, head
from schemas.message import Context
from tests.contract import logs
from tests.contract.logs import STARTED, context
from tests.schemas import golden
from tests.support import PATIENCE

SUBJECT = "evt.default.job.01J00000000000000000000001"
JOB = Stream(*SUBJECT.split(".")[1:])


async def replay(client: Client, prefix: str) -> None:
    """Publish what was stored once, to a log that is called otherwise."""
    subject = LogNames(prefix).subject(JOB)
    for message in golden.messages():
        id = message.headers["Nats-Msg-Id"].replace(SUBJECT, subject)
        headers = message.headers | {"Nats-Msg-Id": id}
        await client.jetstream(timeout=PATIENCE).publish(
            subject, message.data.encode(), headers=headers
        )


async def test_what_an_earlier_version_wrote_is_read_and_gone_on_with(
    nats_url: str, stream_prefix: str
) -> None:
    async with logs.connected([nats_url]) as client:
        await logs.make_stream(client, stream_prefix)
        await replay(client, stream_prefix)
        async with logs.opened(client, stream_prefix) as log:
            first, second = await log.load(JOB)

            assert (first.command, first.actor) == ("01J00000000000000000000002", "token:t1")
            assert (first.correlation, first.causation) == ("req-1", "01J00000000000000000000003")
            assert first.traceparent.startswith("00-0af7651916cd43dd8448eb211c80319c-")
            assert first.at.isoformat() == "2026-11-01T12:30:15.250000+00:00"
            assert second.actor == "Zoë, 100%\r\n"
            assert second.types == ("job.started", "job.progress")
            assert len(second.events) == 2

            third = await log.append(JOB, head([first, second]), [STARTED], context("c3"))
            assert broken_link([first, second, third]) is None


async def test_the_hash_of_what_was_stored_never_changes(nats_url: str, stream_prefix: str) -> None:
    async with logs.connected([nats_url]) as client:
        await logs.make_stream(client, stream_prefix)
        await replay(client, stream_prefix)
        async with logs.opened(client, stream_prefix) as log:
            hashes = [commit.hash for commit in await log.load(JOB)]
    assert hashes == [message.hash for message in golden.messages()]


async def test_what_is_said_of_a_commit_is_still_stored_under_the_same_names(
    nats_url: str, stream_prefix: str
) -> None:
    async with logs.connected([nats_url]) as client:
        await logs.make_stream(client, stream_prefix)
        await replay(client, stream_prefix)
        again = f"{stream_prefix}again"
        await logs.make_stream(client, again)
        async with logs.opened(client, stream_prefix) as old, logs.opened(client, again) as new:
            history: list[Commit] = []
            for commit in await old.load(JOB):
                history.append(await new.append(JOB, head(history), commit.events, said(commit)))

        for position, message in enumerate(golden.messages(), 1):
            kept = await client.jetstream(timeout=PATIENCE).get_msg(f"{again}EVT", position)
            subject = LogNames(again).subject(JOB)
            id = message.headers["Nats-Msg-Id"].replace(SUBJECT, subject)
            assert kept.subject == subject
            assert (message.headers | {"Nats-Msg-Id": id}).items() <= (kept.headers or {}).items()


def said(commit: Commit) -> Context:
    """What surrounded the command that the commit granted."""
    return Context(
        command=commit.command,
        at=commit.at,
        actor=commit.actor,
        correlation=commit.correlation,
        causation=commit.causation,
        traceparent=commit.traceparent,
    )
