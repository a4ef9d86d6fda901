"""What workers write about a job: pages, and following until the end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from ulid import ULID

from gateway import following
from schemas.job import CancelJob
from tests.gateway.rig import Rig, problem
from tests.support import PATIENCE, eventually

TEXT = {"Accept": "text/plain"}


async def job_with_lines(gate: Rig, count: int) -> str:
    job = (await gate.order("org/model")).history[0].stream.id
    for number in range(count):
        await gate.lines.write("default", job, f"line {number}")
    await settled(gate, job, count)
    return job


async def settled(gate: Rig, job: str, count: int) -> None:
    """Lines are written without waiting for the server; wait until it has them."""

    async def kept() -> bool:
        return len(await gate.lines.read("default", job)) == count

    await eventually(kept)


@asynccontextmanager
async def followed(
    gate: Rig, job: str, query: str = "", **headers: str
) -> AsyncGenerator[AsyncIterator[str]]:
    headers = {"Authorization": f"Bearer {gate.admin}", **headers}
    path = f"/jobs/{job}/logs?follow=true{query}"
    async with (
        asyncio.timeout(PATIENCE),
        gate.client.stream("GET", path, headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        yield answer.aiter_lines()


def text_of(line: str) -> str:
    said: dict[str, Any] = msgspec.json.decode(line)
    text: str = said["text"]
    return text


async def test_lines_come_in_pages(gate: Rig) -> None:
    job = await job_with_lines(gate, 5)

    found: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = await gate.get(f"/jobs/{job}/logs", **query)
        found += [line["text"] for line in page["items"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]

    assert found == [f"line {number}" for number in range(5)]


async def test_lines_come_as_text_to_whoever_takes_only_that(gate: Rig) -> None:
    job = await job_with_lines(gate, 2)

    answer = await gate.ask("GET", f"/jobs/{job}/logs", headers=TEXT)

    assert answer.headers["content-type"].startswith("text/plain")
    assert [line.split(maxsplit=2)[1:] for line in answer.text.splitlines()] == [
        ["info", "line 0"],
        ["info", "line 1"],
    ]


async def test_the_lines_of_an_unknown_job_are_not_found(gate: Rig) -> None:
    for query in ("", "?follow=true"):
        answer = await gate.ask("GET", f"/jobs/{ULID()}/logs{query}")
        assert (answer.status_code, problem(answer)) == (404, "not_found")


async def test_following_brings_what_was_written_and_what_is_being_written(gate: Rig) -> None:
    job = await job_with_lines(gate, 2)
    async with followed(gate, job) as lines:
        old = [text_of(await anext(lines)) for _ in range(2)]
        await gate.lines.write("default", job, "a new line", "warning")
        new: dict[str, Any] = msgspec.json.decode(await anext(lines))

    assert old == ["line 0", "line 1"]
    assert (new["text"], new["level"]) == ("a new line", "warning")


async def test_following_goes_on_from_a_cursor(gate: Rig) -> None:
    job = await job_with_lines(gate, 3)
    first, *_ = (await gate.get(f"/jobs/{job}/logs"))["items"]

    async with followed(gate, job, f"&cursor={first['cursor']}") as lines:
        assert text_of(await anext(lines)) == "line 1"


@pytest.fixture
def lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are waited for after a job's end for as long as a busy machine takes to bring them."""
    monkeypatch.setattr(following, "LINGER_SECONDS", PATIENCE)


async def test_following_ends_a_little_after_the_job(gate: Rig) -> None:
    job = await job_with_lines(gate, 1)
    async with followed(gate, job) as lines:
        assert text_of(await anext(lines)) == "line 0"
        await gate.say(CancelJob(job))
        rest = [line async for line in lines if line]

    assert rest == []


@pytest.mark.usefixtures("lingering")
async def test_a_last_word_that_comes_after_the_end_is_told_too(gate: Rig) -> None:
    job = await job_with_lines(gate, 1)
    async with followed(gate, job) as lines:
        assert text_of(await anext(lines)) == "line 0"
        await gate.say(CancelJob(job))
        await gate.log.heard()
        await gate.lines.write("default", job, "the last word")

        assert text_of(await anext(lines)) == "the last word"


async def test_following_a_job_that_has_ended_brings_its_lines_however_late_they_come(
    gate: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LINGER_SECONDS", 0)
    job = await job_with_lines(gate, 3)
    await gate.say(CancelJob(job))

    async with followed(gate, job, **TEXT) as lines:
        found = [line async for line in lines]

    assert [line.split(maxsplit=2)[2] for line in found] == ["line 0", "line 1", "line 2"]


async def test_following_a_job_that_has_ended_ends(gate: Rig) -> None:
    job = await job_with_lines(gate, 0)
    await gate.say(CancelJob(job))

    async with followed(gate, job, **TEXT) as lines:
        assert [line async for line in lines] == []
