"""Whatever is sent to a route, and it need not make sense, is answered as the description says."""

# schemathesis leaves the parameters of its generic types open
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from gateway import following
from gateway.app import description
from schemas.bearer import token_id_and_hash
from tests.gateway.rig import Rig, gateway
from tests.support import PATIENCE

EXAMPLES = 6
STREAMED = 512
"""Bytes of an answer that goes on: enough to see that it began."""

NOT_CHECKED: list[Any] = [
    positive_data_acceptance,  # what is valid may still be unknown, or beyond the log
    negative_data_rejection,  # what is invalid may be a header that is put right here
]
AWAY: list[Any] = [not_a_server_error]
PASSED_ON = {"/serve/{slot}/v1/{path}"}
"""What an engine is to answer: where none serves, that is a 503."""

ENDLESS = {"/events", "/jobs/{id}/logs", "/runtime/pods/{name}/logs"}
STREAMS = {"text/event-stream", "application/json", "application/x-ndjson", "text/plain"}
HARD = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Door:
    """A gateway in a thread of its own, and things that are really there."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.closing: asyncio.Event
        self.loop: asyncio.AbstractEventLoop
        self.url = ""
        self.headers: dict[str, str] = {}
        self.there: dict[str, list[str]] = {}

    async def keep_open(self, nats_url: str, prefix: str, home: Path, database_url: str) -> None:
        self.loop, self.closing = asyncio.get_running_loop(), asyncio.Event()
        async with gateway(nats_url, prefix, home, database_url) as rig:
            await self._furnish(rig)
            self.opened.set()
            await self.closing.wait()

    async def _furnish(self, rig: Rig) -> None:
        job = (await rig.install("org/model")).history[0].stream.id
        await rig.lines.write("default", job, "a line")
        await rig.secrets.set("default", "hub", "v")
        await rig.register("small", aliases=("chat",))
        await rig.serve("small")
        rig.world.lines["pod"] = [b"a line\n"]
        token = token_id_and_hash(await rig.issue("read"))[0]
        self.url = rig.url
        self.headers = {"Authorization": f"Bearer {rig.admin}"}
        self.there = {
            "id": [job, token, "small"],
            "alias": ["chat"],
            "name": ["hub", "jobs", "pod", "model-manifest"],
        }


@contextmanager
def opened(nats_url: str, prefix: str, home: Path, database_url: str) -> Generator[Door]:
    door = Door()
    work = door.keep_open(nats_url, prefix, home, database_url)
    thread = threading.Thread(target=asyncio.run, args=(work,))
    thread.start()
    try:
        assert door.opened.wait(PATIENCE)
        yield door
    finally:
        door.loop.call_soon_threadsafe(door.closing.set)
        thread.join()


def test_every_route_keeps_to_its_description(
    nats_url: str,
    stream_prefix: str,
    tmp_path: Path,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "LINGER_SECONDS", PATIENCE)  # `look` waits for lines, for no end
    schema = schemathesis.openapi.from_dict(description("1.2.3"))
    with opened(nats_url, stream_prefix, tmp_path, database_url) as door:
        for found in schema.get_all_operations():
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                assert isinstance(found, Ok)
                probe(found.ok(), mode, door)


def probe(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, door: Door) -> None:
    turns = iter(range(10_000))

    @HARD
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Case[Any]) -> None:
        for name, values in door.there.items() if mode is GenerationMode.POSITIVE else ():
            if name in case.path_parameters and next(turns) % 2:
                case.path_parameters[name] = values[next(turns) // 2 % len(values)]
        if operation.path in ENDLESS:
            look(case, door)
        else:
            case.call_and_validate(
                base_url=door.url,
                headers=door.headers,
                timeout=PATIENCE,
                excluded_checks=NOT_CHECKED + (AWAY if operation.path in PASSED_ON else []),
            )

    with suppress(Unsatisfiable):  # a route that takes nothing can be sent nothing wrong
        send()


def look(case: Case[Any], door: Door) -> None:
    """As much of an answer as there is in a moment, and whether it may be one."""
    sent = case.as_transport_kwargs(base_url=door.url, headers=door.headers)
    with requests.request(**sent, stream=True, timeout=PATIENCE) as answer:
        kind = answer.headers["content-type"].partition(";")[0]
        assert answer.status_code < 500, answer.text
        if answer.status_code == 200:
            assert kind in STREAMS
            assert next(answer.iter_content(STREAMED))
        else:
            assert kind == "application/problem+json"
