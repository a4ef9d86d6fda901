"""Logs, events, the machine and previews, as those who diagnose see them."""

import asyncio
import platform
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from processors.process import events, logs
from schemas.manifest import EnvVar, SecretKey
from schemas.message import Rejected
from tests.processors.process.rig import ACTIVATION, OTHER, Machine, instance, machine
from tests.support import PATIENCE, eventually

POD = "active-llm-abcdef"
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncGenerator[Machine]:
    async with machine(tmp_path) as made:
        yield made


async def text(chunks: AsyncIterator[bytes]) -> str:
    return b"".join([chunk async for chunk in chunks]).decode()


async def test_a_log_is_read_from_its_end(here: Machine) -> None:
    place = here.place()
    place.folder.mkdir(parents=True)
    place.log.write_text("".join(f"line {number}\n" for number in range(100_000)))

    assert await text(here.workloads.logs("default", POD, follow=False, tail=2)) == (
        "line 99998\nline 99999\n"
    )
    assert await text(here.workloads.logs("default", POD, follow=False, tail=0)) == ""
    whole = await text(here.workloads.logs("default", POD, follow=False, tail=-1))
    assert whole.startswith("line 0\n")
    assert whole.count("\n") == 100_000


async def test_a_log_is_followed_across_restarts_until_its_instance_is_removed(
    here: Machine,
) -> None:
    wanted = instance()
    await here.serves(wanted)
    first = here.server().port
    read: list[bytes] = []

    async def follow() -> None:
        async for chunk in here.workloads.logs("default", POD, follow=True, tail=10):
            read.append(chunk)

    following = asyncio.create_task(follow())
    here.kill()
    await here.comes_to(wanted, "starting")
    await here.serves(wanted)
    second = here.server().port
    await here.removed(wanted)
    async with asyncio.timeout(PATIENCE):
        await following

    said = b"".join(read).decode()
    assert said.index(f"on {first}") < said.index(f"on {second}")


async def test_a_log_that_was_emptied_is_followed_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("old " * 100 + "\n")
    over = asyncio.Event()
    chunks = logs.read(log, tail=1, follow=True, over=over.is_set)
    await anext(chunks)

    logs.rotate(log, limit=10)
    with log.open("a") as file:
        file.write("new\n")
    over.set()

    assert await text(chunks) == "new\n"
    assert (tmp_path / "server.log.1").read_text().startswith("old")


@pytest.mark.parametrize("pod", ["", "..", "../../etc", "active-llm", "active-llm-zzzzzz", "*"])
async def test_a_process_that_is_not_there_has_no_log(here: Machine, pod: str) -> None:
    here.place().folder.mkdir(parents=True)

    with pytest.raises(Rejected) as raised:
        await text(here.workloads.logs("default", pod, follow=False, tail=1))
    assert raised.value.code == "not_found"
    with pytest.raises(Rejected):
        await text(here.workloads.logs("other", POD, follow=False, tail=1))
    with pytest.raises(Rejected):
        await text(here.workloads.logs("default", POD, follow=False, tail=1, container="init"))


async def test_what_happened_in_a_slot_is_told(here: Machine) -> None:
    wanted = instance()
    await here.serves(wanted)
    here.kill()
    await here.comes_to(wanted, "starting")
    await here.serves(wanted)
    await here.removed(wanted)

    told = await here.workloads.events("default", "active-llm", LONG_AGO)

    assert [event.reason for event in told] == [
        "Started", "Ready", "Died", "Started", "Ready", "Stopping",
    ]  # fmt: skip
    assert (told[2].kind, told[2].object) == ("warning", POD)
    assert "exit code 137" in told[2].message
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert await here.workloads.events("default", "active-llm", later) == []
    assert await here.workloads.events("default", "elsewhere", LONG_AGO) == []


async def test_only_the_last_events_are_kept(here: Machine) -> None:
    for number in range(1000):
        events.note(here.place(), "normal", "Noted", str(number))
    with here.place().events.open("ab") as file:
        file.write(b'{"half": ')

    told = await here.workloads.events("default", "active-llm", LONG_AGO)

    assert told[-1].message == "999"
    assert here.place().events.stat().st_size < 2 * events.LONGEST


async def test_the_machine_is_the_only_node(here: Machine) -> None:
    (node,) = await here.workloads.nodes()

    assert (node.name, node.ready) == (platform.node(), True)
    assert 0 <= node.gpus_free <= node.gpus


async def test_a_preview_shows_what_would_be_started_and_no_secret(here: Machine) -> None:
    await here.secrets.set("default", "hub", "s3cret")
    variables = (EnvVar("KEY", secret=SecretKey("hub")), EnvVar("PLAIN", "value"))
    manifest = instance(variables=variables).served.manifest

    shown = await here.workloads.preview(manifest, "default", "active-llm")

    assert shown["engine"] == "fake"
    assert shown["command"][-2:] == ["PORT", str(here.store.layout.target("default", "tiny"))]
    assert shown["environment"] == [
        {"name": "KEY", "secret": "hub"},
        {"name": "PLAIN", "value": "value"},
    ]
    assert "s3cret" not in str(shown)
    assert not here.place().folder.exists()


async def test_two_instances_of_a_slot_have_names_of_their_own(here: Machine) -> None:
    await here.serves(instance(ACTIVATION))
    await here.serves(instance(OTHER))

    for activation in (ACTIVATION, OTHER):
        pod = f"active-llm-{activation[-6:].lower()}"

        async def said(pod: str = pod, port: int = here.server(activation).port) -> bool:
            chunks = here.workloads.logs("default", pod, follow=False, tail=10)
            return f"on {port}" in await text(chunks)

        await eventually(said)
