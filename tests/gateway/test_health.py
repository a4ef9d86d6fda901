"""Alive, ready, measured, and what still works when Postgres does not."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from gateway.settings import Settings
from tests.gateway.rig import Rig, gateway, problem
from tests.gateway.test_events import append, take


async def test_a_gateway_with_all_its_parts_is_ready(house: Rig) -> None:
    answer = await house.ask("GET", "/readyz", "")

    assert answer.status_code == 200, answer.text
    assert answer.json()["ok"] is True
    assert [part["name"] for part in answer.json()["parts"]] == ["nats", "postgres", "projections"]


async def test_a_gateway_whose_read_models_stand_still_is_not_ready(
    nats_url: str, stream_prefix: str, database_url: str, tmp_path: Path
) -> None:
    settings = Settings(most_lag=2)
    async with gateway(
        nats_url, stream_prefix, tmp_path, database_url, projecting=False, settings=settings
    ) as rig:
        while await rig.log.end() < 2:
            await append(rig, 1)
        before = await rig.ask("GET", "/readyz", "")
        await append(rig, 1)
        after = await rig.ask("GET", "/readyz", "")

    assert before.status_code == 200
    assert after.status_code == 503
    assert after.json()["parts"][2] == {
        "name": "projections",
        "ok": False,
        "detail": "3 commits behind",
    }


async def test_without_postgres_commands_access_and_the_stream_go_on(gate: Rig) -> None:
    ready = await gate.ask("GET", "/readyz", "")
    read = await gate.ask("GET", "/jobs")
    async with gate.stream("tail=1&type=weights.*") as messages:
        await take(messages, 2)
        write = await gate.ask("POST", "/weights/install", json={"hfModelId": "org/model"})
        [heard] = await take(messages, 1)

    assert ready.status_code == 503
    assert [part["ok"] for part in ready.json()["parts"]] == [True, False]
    assert (read.status_code, problem(read)) == (503, "read_models_unavailable")
    assert write.status_code == 202
    assert heard.type == "weights.reserved"
    assert (await gate.ask("GET", "/jobs", "mllm_nobody_x")).status_code == 401


async def test_figures_are_by_route_and_never_by_path(gate: Rig) -> None:
    await gate.ask("GET", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV")
    await append(gate, 1)
    async with gate.stream("tail=0") as messages:
        await take(messages, 2)
        answer = await gate.ask("GET", "/metrics")

    families = {one.name: one for one in text_string_to_metric_families(answer.text)}
    seconds = families["mllm_http_request_seconds"].samples
    routes = {sample.labels["route"] for sample in seconds}
    assert "/jobs/{id}" in routes
    assert "01ARZ3NDEKTSV4RRFFQ69G5FAV" not in answer.text
    assert families["mllm_streams_open"].samples[0].value == 1
    assert families["mllm_sse_position"].samples[0].value == await gate.log.end()
