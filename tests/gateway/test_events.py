"""The event stream: seeds, resumes, filters, and what it costs when a reader does not read."""

import asyncio
import random
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ulid import ULID

from gateway.frames import Entry, Filter, types_of
from gateway.settings import Settings
from gateway.stream import Ring
from schemas.job import (
    JobCancelled,
    JobCancelRequested,
    JobFailed,
    JobPaused,
    JobPauseRequested,
    JobResumed,
)
from schemas.live import Tick
from schemas.log import Commit, Head, Stream, head
from tests.gateway.clock import Clock
from tests.gateway.rig import EPOCH, Rig, gateway, problem
from tests.gateway.sse import Message
from tests.support import PATIENCE, eventually


async def append(gate: Rig, events: int, job: str = "", namespace: str = "default") -> Commit:
    """One commit of so many events on some job's history."""
    log_stream = Stream(namespace, "job", job or str(ULID()))
    at = head(await gate.log.load(log_stream)) if job else Head()
    pool = (
        JobPauseRequested(log_stream.id),
        JobPaused(log_stream.id),
        JobResumed(log_stream.id),
        JobCancelRequested(log_stream.id),
        JobCancelled(log_stream.id),
    )
    return await gate.log.append(log_stream, at, pool[:events], gate.context(namespace))


async def take(messages: AsyncIterator[Message], count: int) -> list[Message]:
    """The next `count` messages that are not comments."""
    found: list[Message] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            message = await anext(messages)
            if message.type:
                found.append(message)
    return found


async def seeded(messages: AsyncIterator[Message]) -> list[Message]:
    """Everything up to the end of the seed, without the brackets."""
    found: list[Message] = []
    async with asyncio.timeout(PATIENCE):
        async for message in messages:
            if message.type == "stream.seed.complete":
                assert message.event["count"] == len(found)
                assert message.event["data"]["count"] == len(found)
                assert not message.id
                return found
            if message.type and message.type != "stream.seed.start":
                found.append(message)
    raise AssertionError("the stream ended within its seed")


def ids(messages: list[Message]) -> list[str]:
    return [message.id for message in messages]


async def test_what_happens_is_told_as_cloud_events(gate: Rig) -> None:
    async with gate.stream() as messages:
        assert (await anext(messages)).comment == "listening"
        commit = await append(gate, 2)
        first, second = await take(messages, 2)

    assert first.type == "job.pause.requested"
    assert (first.id, second.id) == (f"{commit.position}.0", f"{commit.position}.1")
    event = first.event
    assert event["specversion"] == "1.0"
    assert event["id"] == first.id
    assert event["type"] == first.type
    assert event["source"] == "/default/job"
    assert event["subject"] == f"job/{commit.stream.id}"
    assert event["sequence"] == commit.position
    assert event["namespace"] == "default"
    assert event["actor"] == "test"
    assert event["correlationid"] == commit.correlation
    assert event["data"] == {"type": first.type, "v": 1, "job": commit.stream.id}
    assert datetime.fromisoformat(event["time"]) == commit.at


async def test_headers_come_while_there_is_nothing_to_tell(
    nats_url: str, stream_prefix: str, tmp_path: Path
) -> None:
    silent = Settings(ping_seconds=3600)
    async with (
        gateway(nats_url, stream_prefix, tmp_path, settings=silent) as rig,
        asyncio.timeout(PATIENCE),
        rig.client.stream(
            "GET", "/events", headers={"Authorization": f"Bearer {rig.admin}"}
        ) as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"]


async def test_a_tail_brings_the_newest_events_and_then_goes_on(gate: Rig) -> None:
    commits = [await append(gate, 3) for _ in range(3)]
    async with gate.stream("tail=4") as messages:
        assert (await take(messages, 1))[0].type == "stream.seed.start"
        found = await seeded(messages)
        later = await append(gate, 1)
        [live] = await take(messages, 1)

    second, third = commits[1].position, commits[2].position
    assert ids(found) == [f"{second}.2", f"{third}.0", f"{third}.1", f"{third}.2"]
    assert live.id == f"{later.position}.0"


async def test_a_tail_of_a_filter_counts_what_passes(gate: Rig) -> None:
    job = str(ULID())
    mine = [await append(gate, 2, job) for _ in range(2)]
    for _ in range(200):
        await append(gate, 1)

    async with gate.stream(f"tail=3&aggregate=job&id={job}") as messages:
        found = await seeded(messages)
    async with gate.stream("tail=2&type=job.paused") as messages:
        paused = await seeded(messages)

    first, second = (commit.position for commit in mine)
    assert ids(found) == [f"{first}.1", f"{second}.0", f"{second}.1"]
    assert ids(paused) == [f"{first}.1", f"{second}.1"]


async def test_events_about_weights_or_a_model_are_asked_for_by_its_name(house: Rig) -> None:
    await house.register("small")
    await house.order("org/model")
    await house.order("org/other")
    end = await house.log.end()

    for aggregate, name, type in (
        ("weights", "org/model", "weights.reserved"),
        ("model", "small", "model.registered"),
    ):
        async with house.stream(f"after=0&type={type}&aggregate={aggregate}&id={name}") as messages:
            [streamed] = await seeded(messages)
        query = {"aggregate": aggregate, "id": name, "type": type}
        [paged] = (await house.get("/events/log", min_sequence=end, **query))["items"]
        assert (streamed.id, streamed.event["type"]) == (paged["id"], type)


async def test_an_empty_tail_says_where_the_log_is(gate: Rig) -> None:
    commit = await append(gate, 1)

    async with gate.stream("tail=0") as messages:
        start, complete = await take(messages, 2)

    assert start.type == "stream.seed.start"
    assert complete.type == "stream.seed.complete"
    assert complete.event["sequence"] == commit.position
    assert complete.event["data"] == {"count": 0, "sequence": commit.position}


async def test_without_a_wish_for_the_past_there_is_none(gate: Rig) -> None:
    await append(gate, 1)
    async with gate.stream() as messages:
        assert (await anext(messages)).comment
        later = await append(gate, 1)
        [first] = await take(messages, 1)

    assert first.id == f"{later.position}.0"


async def test_a_client_goes_on_after_an_event_or_a_position(gate: Rig) -> None:
    one = await append(gate, 3)
    two = await append(gate, 2)
    whole = [f"{one.position}.{i}" for i in range(3)] + [f"{two.position}.{i}" for i in range(2)]

    async def after(place: str) -> list[str]:
        async with gate.stream(f"after={place}") as messages:
            return ids(await seeded(messages))

    assert await after(f"{one.position - 1}") == whole
    assert await after(f"{one.position}.0") == whole[1:]
    assert await after(f"{one.position}.2") == whole[3:]
    assert await after(f"{one.position}") == whole[3:]
    assert await after(f"{two.position}.1") == []
    assert await after("0") == whole


async def test_the_header_of_a_reconnect_goes_before_the_address(gate: Rig) -> None:
    one = await append(gate, 2)
    two = await append(gate, 1)

    headers = {"Last-Event-ID": f"{one.position}.1"}
    async with gate.stream("after=0&tail=9", **headers) as messages:
        found = await seeded(messages)

    assert ids(found) == [f"{two.position}.0"]


async def test_a_place_ahead_of_the_log_is_reset(gate: Rig) -> None:
    for ahead in ("{}", "{}.0", "{}.4"):
        end = await gate.log.end()
        async with gate.stream(f"after={ahead.format(end + 1)}") as messages:
            [reset] = await take(messages, 1)
            later = await append(gate, 1)
            [live] = await take(messages, 1)
        assert (reset.type, reset.id) == ("stream.reset", "")
        assert reset.event["sequence"] == end
        assert reset.event["data"] == {"epoch": EPOCH, "sequence": end}
        assert live.id == f"{later.position}.0"


async def test_a_place_in_another_log_is_reset(gate: Rig) -> None:
    commit = await append(gate, 1)

    async with gate.stream(f"after={commit.position}&epoch=another") as messages:
        [reset] = await take(messages, 1)
    async with gate.stream(f"after={commit.position}&epoch={EPOCH}") as messages:
        assert await seeded(messages) == []

    assert reset.event["epoch"] == EPOCH


async def test_types_are_chosen_by_name_and_by_family(gate: Rig) -> None:
    await gate.order("org/model")

    async def types(query: str) -> list[str]:
        async with gate.stream(f"after=0&{query}") as messages:
            return [message.type for message in await seeded(messages)]

    assert await types("type=job.*") == ["job.requested"]
    assert await types("type=job.requested&type=weights.*") == ["weights.reserved", "job.requested"]
    assert await types("type=weights.reserved,job.requested") == await types("type=*")
    assert await types("type=model.*") == []


async def test_a_client_sees_its_namespace_only(gate: Rig) -> None:
    await append(gate, 1, namespace="default")
    theirs = await append(gate, 1, namespace="tenant")
    tenant = await gate.issue("read", namespaces=("tenant",))
    everyone = await gate.issue("read", namespaces=("*",))

    async def spaces(query: str, bearer: str) -> set[str]:
        async with gate.stream(f"after=0&{query}", bearer) as messages:
            return {message.event["namespace"] for message in await seeded(messages)}

    assert await spaces("namespace=tenant", tenant) == {theirs.stream.namespace}
    assert await spaces("namespace=*", everyone) == {"default", "tenant"}
    assert await spaces("namespace=*", gate.admin) == {"default", "tenant", "system"}
    assert await spaces("namespace=system", gate.admin) == {"system"}
    refused = await gate.ask("GET", "/events?namespace=system", everyone)
    assert problem(refused) == "forbidden_namespace"


async def test_live_byte_counts_come_without_an_id(gate: Rig) -> None:
    tick = Tick("J", "default", 1, "w1", datetime.now(UTC), "fetch", 5, 10)
    async with gate.stream("type=job.tick") as mine, gate.stream("type=weights.*") as other:
        assert (await anext(mine)).comment == (await anext(other)).comment == "listening"
        await gate.live.say(tick)
        [message] = await take(mine, 1)
        await gate.order("org/model")
        [next_] = await take(other, 1)

    assert (message.type, message.id) == ("job.tick", "")
    assert message.event["subject"] == "job/J"
    assert message.event["data"]["bytesDone"] == 5
    assert next_.type == "weights.reserved"


async def test_lines_of_job_logs_come_as_they_are_written_without_an_id(gate: Rig) -> None:
    async def followed() -> bool:
        logs = await gate.nats.jetstream().stream_info(gate.line_names.stream)
        return logs.state.consumer_count == 1

    await eventually(followed)
    wanted = "type=job.log&aggregate=job&id=J"
    async with gate.stream(wanted) as mine, gate.stream("type=job.tick") as other:
        assert (await anext(mine)).comment == (await anext(other)).comment == "listening"
        await gate.lines.write("default", "K", "of another job")
        await gate.lines.write("default", "J", "model.safetensors: 503; retry 1/6", "warning")
        await gate.lines.write("tenant", "J", "of another namespace")
        await gate.live.say(Tick("J", "default", 1, "w1", datetime.now(UTC), "fetch", 5, 10))
        [line] = await take(mine, 1)
        [tick] = await take(other, 1)

    assert (line.type, line.id, line.event["subject"]) == ("job.log", "", "job/J")
    assert line.event["data"]["text"] == "model.safetensors: 503; retry 1/6"
    [kept] = await gate.lines.read("default", "J")
    assert line.event["data"]["cursor"] == kept.cursor
    assert tick.type == "job.tick"


async def test_events_of_unknown_types_are_passed_on(gate: Rig) -> None:
    async with gate.stream("type=moon.*") as messages:
        assert (await anext(messages)).comment
        await gate.append_foreign("moon.landed", b'[{"type":"moon.landed","v":3,"foot":1}]')
        [message] = await take(messages, 1)

    assert message.event["data"] == {"type": "moon.landed", "v": 3, "foot": 1}


async def test_every_event_comes_exactly_once_through_500_reconnects(gate: Rig) -> None:
    chance = random.Random(7)
    wanted: list[str] = []
    seen = [str(await gate.log.end())]
    enough = asyncio.Event()

    async def write() -> None:
        while not enough.is_set():
            commit = await append(gate, chance.randint(1, 5))
            wanted.extend(f"{commit.position}.{index}" for index in range(len(commit.types)))
            await asyncio.sleep(0.002)

    async def read(count: int) -> None:
        headers = {"Last-Event-ID": seen[-1]}
        async with gate.listen("", **headers) as messages, asyncio.timeout(PATIENCE):
            while count:
                message = await anext(messages)
                if message.id:
                    seen.append(message.id)
                    count -= 1

    writing = asyncio.create_task(write())
    for _ in range(500):
        await read(chance.randint(0, 8))
    enough.set()
    await writing
    await read(len(wanted) - len(seen) + 1)

    assert seen[1:] == wanted


SMALL = Settings(ring_commits=40, warm_commits=10, ping_seconds=0.2)


@pytest.fixture
async def small(nats_url: str, stream_prefix: str, tmp_path: Path) -> AsyncGenerator[Rig]:
    """A gateway that remembers little."""
    async with gateway(nats_url, stream_prefix, tmp_path, settings=SMALL) as rig:
        yield rig


async def test_what_the_ring_has_forgotten_is_read_from_the_log(small: Rig) -> None:
    commits = [await append(small, 1 + number % 5) for number in range(200)]
    wanted = [f"{c.position}.{i}" for c in commits for i in range(len(c.types))]

    async with small.stream(f"after={commits[0].position - 1}") as messages:
        whole = await seeded(messages)
    async with small.stream(f"after={commits[3].position}.1") as messages:
        rest = await seeded(messages)
    async with small.stream("tail=400") as messages:
        tail = await seeded(messages)

    assert ids(whole) == wanted
    assert ids(rest) == wanted[wanted.index(f"{commits[3].position}.1") + 1 :]
    assert ids(tail) == wanted[-400:]


async def test_a_client_that_wants_few_of_many_events_is_led_to_them_by_the_index(
    nats_url: str, stream_prefix: str, database_url: str, tmp_path: Path
) -> None:
    async with gateway(nats_url, stream_prefix, tmp_path, database_url, settings=SMALL) as rig:
        rare, wanted = str(ULID()), list[str]()
        for _ in range(12):
            commit = await append(rig, 2, rare)
            wanted += [f"{commit.position}.{index}" for index in range(2)]
            await asyncio.gather(*(append(rig, 2) for _ in range(99)))
        await rig.get("/events/log", limit=1, min_sequence=await rig.log.end())

        query = f"aggregate=job&id={rare}"
        async with rig.stream(f"after=0&{query}") as messages:
            whole = await seeded(messages)
        async with rig.stream(f"after={wanted[0]}&{query}") as messages:
            rest = await seeded(messages)
        async with rig.stream(f"tail=21&{query}") as messages:
            tail = await seeded(messages)
        async with rig.stream(f"tail=5&{query}&type=job.paused") as messages:
            paused = await seeded(messages)
        async with rig.stream(f"tail=99&{query}") as messages:
            all_ = await seeded(messages)

    assert ids(whole) == ids(all_) == wanted
    assert ids(rest) == wanted[1:]
    assert ids(tail) == wanted[-21:]
    assert ids(paused) == wanted[1::2][-5:]


async def test_without_the_index_a_tail_looks_through_the_log(small: Rig) -> None:
    rare = str(ULID())
    first = await append(small, 1, rare)
    for _ in range(7):
        await asyncio.gather(*(append(small, 1) for _ in range(100)))
    second = await append(small, 1, rare)

    async with small.stream(f"tail=2&aggregate=job&id={rare}") as messages:
        found = await seeded(messages)

    assert ids(found) == [f"{first.position}.0", f"{second.position}.0"]


async def test_a_connection_on_which_nothing_happens_is_kept_alive(small: Rig) -> None:
    async with small.stream() as messages:
        said = [(await anext(messages)).comment for _ in range(3)]

    assert said == ["listening", "ping", "ping"]


@contextmanager
def deaf(rig: Rig) -> Generator[None]:
    """Someone who asks for all events, and reads none."""
    request = f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {rig.admin}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", int(rig.url.rpartition(":")[2])))
        client.sendall(request.encode())
        yield


async def test_a_reader_that_stops_reading_is_let_go_and_costs_nobody_anything(
    small: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, open_ = Clock(monkeypatch), small.app.state.connections

    async def count(number: int) -> None:
        async def holds() -> bool:
            return len(open_) == number

        await eventually(holds)

    with ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(deaf(small))
        await count(3)
        async with small.stream() as messages:
            await count(4)
            hearing = asyncio.create_task(take(messages, 100))
            for _ in range(100):
                job = str(ULID())
                large = JobFailed(job=job, code="c", reason="x" * 100_000)
                stream = Stream("default", "job", job)
                await small.log.append(stream, Head(), [large], small.context())
            heard = await hearing
            assert len(open_) == 4
            clock.ahead = SMALL.stuck_seconds
            await count(1)
            await append(small, 1)
            heard += await take(messages, 1)

    assert len(heard) == 101


async def test_the_ring_is_bounded_by_number_and_by_size() -> None:
    few, light = Ring(entries=10, size=1 << 20), Ring(entries=1000, size=100)
    entry = Entry(Stream("default", "job", "j"), ("t",), (b"x" * 30,))
    for number in range(1, 51):
        few.append(number, entry)
        light.append(number, entry)

    assert (few.start, few.end) == (40, 50)
    assert (light.start, light.end) == (47, 50)
    assert few.read(Filter(None), 45).events == 5


async def test_a_ring_whose_numbers_have_a_gap_begins_anew() -> None:
    ring = Ring(entries=10, size=1 << 20)
    entry = Entry(Stream("default", "job", "j"), ("t",), (b"x",))
    ring.append(1, entry)
    ring.append(7, entry)

    assert (ring.start, ring.end) == (6, 7)


async def test_a_filter_lets_through_what_was_asked_for() -> None:
    ring = Ring(entries=10, size=1 << 20)
    ring.append(1, Entry(Stream("default", "job", "j"), ("a.b", "a.c"), (b"1", b"2")))

    exact, families = types_of(["a.*"])
    assert ring.read(Filter("default", types=exact, families=families), 0).data == b"12"
    assert ring.read(Filter("default", types=frozenset({"a.c"})), 0).data == b"2"
    assert ring.read(Filter("other"), 0).data == b""
    assert ring.read(Filter(None), 0, skip=1).data == b"2"
