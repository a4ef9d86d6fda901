"""What there is, and how it is now, for those who act on it."""

import pytest

from commands.jetstream import JetStreamLog
from commands.memory import MemoryLog
from schemas.log import Head, LogUnavailable
from schemas.runtime import DeactivateSlot, SlotState
from tests.commands.serving import A1, A2, S, World, wish
from tests.contract.logs import STARTED, connected, context, opened, stream


@pytest.fixture(params=["memory", "jetstream"])
def log(request: pytest.FixtureRequest) -> MemoryLog | JetStreamLog:
    if request.param == "memory":
        return MemoryLog()
    found: JetStreamLog = request.getfixturevalue("jetstream_log")
    return found


async def test_every_aggregate_of_a_family_is_known(log: MemoryLog | JetStreamLog) -> None:
    assert list(await log.ids("job")) == []
    for namespace, aggregate, id in (
        ("default", "job", "j1"),
        ("default", "job", "j2"),
        ("other", "job", "j1"),
        ("default", "jobs", "j3"),
        ("job", "token", "job"),
    ):
        there = stream(id, namespace=namespace, aggregate=aggregate)
        await log.append(there, Head(), [STARTED], context(f"{namespace}/{aggregate}/{id}"))

    assert sorted(await log.ids("job")) == [("default", "j1"), ("default", "j2"), ("other", "j1")]
    assert list(await log.ids("token")) == [("job", "job")]


async def test_a_directory_that_can_not_be_read_says_so(nats_url: str, stream_prefix: str) -> None:
    async with connected([nats_url]) as client, opened(client, stream_prefix, 1.0) as log:
        with pytest.raises(LogUnavailable):
            await log.ids("job")


async def test_a_slot_is_seen_in_the_course_of_its_last_request(serving: World) -> None:
    unheard_of = await serving.seen()
    assert (unheard_of.state, unheard_of.position) == (SlotState(), 0)
    assert await serving.slots.all() == []
    await serving.has("one")
    asked = context("c1", correlation="req-1", traceparent="00-1-1-01")
    await serving.activations.activate(wish(A1, "one"), asked)
    seen = await serving.seen()
    assert (seen.requested_at, seen.correlation, seen.traceparent) == (
        asked.at,
        "req-1",
        "00-1-1-01",
    )
    assert seen.position == (await serving.log.load(stream(S, aggregate="runtime")))[-1].position
    await serving.completes()
    assert (await serving.seen()).requested_at is None
    assert (await serving.seen()).correlation == "req-1"
    leaving = context("c2", correlation="req-2")
    await serving.activations.deactivate(DeactivateSlot(S, A2, "ada"), leaving)
    assert (await serving.seen()).correlation == "req-2"
    assert await serving.slots.all() == [("default", S)]
