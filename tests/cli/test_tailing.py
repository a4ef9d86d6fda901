import pytest

from cli.client import Gateway
from cli.exits import Exit
from cli.failures import Failure
from cli.tailing import Break, Message, Pump, follow, parse, position_of
from schemas.job import JobPaused, JobResumed
from schemas.live import Tick
from tests.cli.fake_gateway import JOB, NOW, TOKEN, FakeGateway, job_row
from tests.cli.support import meanwhile
from tests.support import PATIENCE


def test_messages_are_read_off_the_lines() -> None:
    lines = [
        b": listening\n",
        b"\n",
        b"id: 4.0\n",
        b"event: job.started\n",
        b"data: {}\n",
        b"\n",
        b": ping\n",
        b"\n",
        b"event: job.tick\r\n",
        b"data: one\r\n",
        b"data: two\r\n",
        b"\r\n",
        b"id: 5.0\n",
        b"data: cut off before its end\n",
    ]

    assert list(parse(lines)) == [
        Message("job.started", "4.0", b"{}"),
        Message("job.tick", "", b"one\ntwo"),
    ]


def test_a_message_has_the_position_of_its_commit() -> None:
    assert [position_of(id) for id in ("47.0", "47.3", "47", "", "x.1")] == [47, 47, 47, 0, 0]


def messages(pump: Pump[Message | Break], count: int) -> list[Message]:
    found: list[Message] = []
    for item in pump.items(PATIENCE):
        assert item is not None, "nothing came"
        if isinstance(item, Message):
            found.append(item)
        if len(found) == count:
            break
    return found


def test_a_stream_that_breaks_off_goes_on_where_it_was(gateway: FakeGateway) -> None:
    gateway.put(job_row())

    def tell() -> None:
        gateway.subscribed()
        for number in range(10):
            gateway.happen(JobPaused(job=JOB) if number % 2 else JobResumed(job=JOB))
            if number % 3 == 0:
                gateway.cut()

    client = Gateway(gateway.url, TOKEN, "default")
    with meanwhile(tell), Pump(client, lambda reader: follow(reader, 1, aggregate="job")) as pump:
        found = messages(pump, 10)

    assert [message.id for message in found] == [event.id for event in gateway.events]


def test_what_is_not_in_the_log_does_not_move_the_place(gateway: FakeGateway) -> None:
    gateway.put(job_row())

    def tell() -> None:
        gateway.subscribed()
        gateway.happen(JobPaused(job=JOB))
        gateway.tick(Tick(JOB, "default", 1, "w1", NOW))
        gateway.cut()
        gateway.subscribed(2)
        gateway.happen(JobResumed(job=JOB))

    client = Gateway(gateway.url, TOKEN, "default")
    with meanwhile(tell), Pump(client, lambda reader: follow(reader, 1, tail=5)) as pump:
        found = messages(pump, 3)

    assert [message.id for message in found] == ["2.0", "", "3.0"]
    again = gateway.last("GET", "/events")
    assert again.headers["last-event-id"] == "2.0"
    assert "tail" not in again.query


def test_a_refusal_reaches_the_reader(gateway: FakeGateway) -> None:
    gateway.refuse("/events", "token_revoked", 401)
    client = Gateway(gateway.url, TOKEN, "default")

    with Pump(client, lambda reader: follow(reader)) as pump, pytest.raises(Failure) as raised:
        next(pump.items(PATIENCE))

    assert raised.value.exit == Exit.NOT_ALLOWED


def test_a_reader_that_leaves_takes_its_connection_along(gateway: FakeGateway) -> None:
    gateway.put(job_row())
    client = Gateway(gateway.url, TOKEN, "default")

    with Pump(client, lambda reader: follow(reader, 1)) as pump:
        gateway.subscribed()
        gateway.happen(JobPaused(job=JOB))
        messages(pump, 1)

    gateway.happen(JobResumed(job=JOB))
    gateway.cut()
    assert gateway.subscribers == 1
