"""Slots over HTTP: asking for models to serve, and seeing what serves."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.settings import Settings
from schemas.checks import Check
from schemas.manifest import Replicas, Resources
from schemas.message import Rejected
from schemas.runtime import EnterPhase, FailActivation, ReportDrift, StartActivation
from schemas.status import ContainerStatus, Health, PodStatus, RecordStatus, SlotStatus
from tests.gateway.rig import Rig, gateway, problem
from tests.gateway.worlds import warning
from tests.support import eventually

SLOT = "active-llm"


async def stocked(rig: Rig, *models: str, **more: Any) -> None:
    """Have weights, and models that rely on them."""
    await rig.install("org/model")
    for model in models:
        await rig.register(model, **more)


async def ask(rig: Rig, verb: str, **body: Any) -> Any:
    answer = await rig.ask("POST", f"/runtime/{verb}", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def refused(rig: Rig, verb: str, **body: Any) -> tuple[int, str]:
    answer = await rig.ask("POST", f"/runtime/{verb}", json=body)
    return answer.status_code, problem(answer)


async def observe(rig: Rig, health: Health, *pods: PodStatus, slot: str = SLOT) -> int:
    status = SlotStatus(health, "small", replicas=1, replicas_ready=1, gpus=1, pods=pods)
    return (await rig.say(RecordStatus(slot, status))).position


async def test_an_activation_is_accepted_with_the_whole_slot(gate: Rig) -> None:
    await stocked(gate, "small")

    accepted = await ask(gate, "activate", modelId="small", strategy="blue-green", hold=True)

    slot = accepted["slot"]
    assert (slot["slot"], slot["state"]) == (SLOT, "activating")
    assert slot["candidate"]["activation"] == accepted["activation"]
    assert (slot["candidate"]["model"], slot["candidate"]["hold"]) == ("small", True)
    assert slot["candidate"]["by"].startswith("token/")
    assert accepted["sequence"] == slot["position"]


async def test_a_model_is_activated_by_an_alias_too(gate: Rig) -> None:
    await stocked(gate, "small", aliases=("chat",))

    accepted = await ask(gate, "activate", modelId="chat", slot="other")

    assert accepted["slot"]["slot"] == "other"
    assert accepted["slot"]["candidate"]["model"] == "small"


async def test_who_asks_for_what_is_under_way_joins_it(gate: Rig) -> None:
    await stocked(gate, "small")

    first = await ask(gate, "activate", modelId="small")
    second = await ask(gate, "activate", modelId="small")

    assert second["activation"] == first["activation"]


async def test_what_serves_already_is_not_activated_again(gate: Rig) -> None:
    await stocked(gate, "small")
    id = await gate.serve("small")

    accepted = await ask(gate, "activate", modelId="small")

    assert accepted["activation"] == id
    assert accepted["slot"]["state"] == "serving"


async def test_another_activation_meanwhile_is_a_conflict_with_who_and_what(gate: Rig) -> None:
    await stocked(gate, "small", "big")
    id = await gate.activate("small")

    answer = await gate.ask("POST", "/runtime/activate", json={"modelId": "big"})

    assert (answer.status_code, problem(answer)) == (409, "conflict")
    details = answer.json()["details"]
    assert (details["activation"], details["model"], details["by"]) == (id, "small", "somebody")


async def test_what_can_not_serve_is_refused_with_every_check(gate: Rig) -> None:
    await stocked(gate, "small")
    gate.checks.found += (Check("secrets", "fail", "a secret is missing", "set it"),)
    end = await gate.log.end()

    answer = await gate.ask("POST", "/runtime/activate", json={"modelId": "small"})

    assert (answer.status_code, problem(answer)) == (422, "invalid_model")
    checks = answer.json()["details"]["checks"]
    assert [(check["name"], check["outcome"]) for check in checks] == [
        ("weights", "pass"),
        ("secrets", "fail"),
    ]
    assert answer.json()["remedy"] == "set it"
    assert await gate.log.end() == end


async def test_too_few_gpus_are_told_with_figures(gate: Rig) -> None:
    await stocked(gate, "small", resources=Resources(gpus=2))
    gate.checks.free = 1

    answer = await gate.ask("POST", "/runtime/activate", json={"modelId": "small"})

    assert (answer.status_code, problem(answer)) == (409, "no_capacity")
    details = answer.json()["details"]
    assert (details["wanted"], details["free"], details["total"]) == (2, 1, 4)


async def test_what_is_not_there_can_not_be_activated(gate: Rig) -> None:
    await gate.register("small")

    assert await refused(gate, "activate", modelId="nothing") == (404, "not_found")
    assert await refused(gate, "activate", modelId="small") == (422, "weights_not_installed")


async def test_a_body_is_read_strictly(gate: Rig) -> None:
    for body in (
        {},
        {"modelId": "small", "strategy": "red-black"},
        {"modelId": "small", "slot": "UPPER"},
        {"modelId": "small", "timeoutSeconds": 0},
        {"modelId": "small", "surprise": 1},
    ):
        assert await refused(gate, "activate", **body) == (400, "invalid"), body
    assert await refused(gate, "scale", replicas=-1) == (400, "invalid")


async def test_a_candidate_that_waits_is_promoted(gate: Rig) -> None:
    await stocked(gate, "small", "big")
    await gate.serve("small")
    id = await gate.activate("big", hold=True, strategy="blue-green")

    assert await refused(gate, "promote", candidateId="small") == (404, "not_found")
    assert await refused(gate, "promote", candidateId="big") == (409, "not_ready")
    await gate.say(EnterPhase(SLOT, id, "ready", 5))
    wrong = {"candidateId": "big", "currentId": "other"}
    assert await refused(gate, "promote", **wrong) == (409, "conflict")
    promoted = await ask(gate, "promote", candidateId="big", currentId="small")

    assert promoted["activation"] == id
    assert promoted["slot"]["candidate"]["waiting"] is False


async def test_going_back_ends_what_is_under_way_or_brings_back_what_was(gate: Rig) -> None:
    await stocked(gate, "small", "big")
    assert await refused(gate, "rollback") == (409, "nothing_to_roll_back")
    await gate.serve("small")
    coming = await gate.activate("big")

    given_up = await ask(gate, "rollback")
    await gate.serve("big")
    back = await ask(gate, "rollback", strategy="direct")

    assert (given_up["activation"], given_up["slot"]["model"]) == (coming, "small")
    assert given_up["slot"]["state"] == "serving"
    assert (back["slot"]["candidate"]["model"], back["slot"]["candidate"]["back"]) == (
        "small",
        True,
    )


async def test_a_slot_is_emptied(gate: Rig) -> None:
    await stocked(gate, "small")
    assert await refused(gate, "deactivate") == (404, "not_found")
    await gate.serve("small")

    first = await ask(gate, "deactivate", slot=SLOT)
    again = (await gate.ask("POST", "/runtime/deactivate")).json()

    assert first["slot"]["state"] == "deactivating"
    assert first["slot"]["deactivation"] == first["activation"] == again["activation"]


async def test_a_slot_is_scaled_within_what_is_allowed(gate: Rig) -> None:
    await stocked(gate, "small", replicas=Replicas(1, 8))
    assert await refused(gate, "scale", replicas=2) == (404, "not_found")
    await gate.serve("small")

    scaled = await ask(gate, "scale", replicas=3)

    assert scaled["slot"]["replicas"] == 3
    assert await refused(gate, "scale", replicas=5) == (400, "invalid")


async def test_what_a_slot_is_and_was_is_read(house: Rig) -> None:
    await stocked(house, "small", "big")
    await house.serve("small")
    between = await house.log.end()
    id = await house.activate("big")
    await house.say(FailActivation(SLOT, id, "engine_died", "it ended", 1234))
    seen = await observe(house, "ready")

    page = await house.get("/runtime", min_sequence=seen)
    then = await house.get("/runtime", as_of=f"seq:{between}")
    history = await house.get("/runtime/history")
    active = await house.get("/active")

    [slot] = page["items"]
    assert (slot["model"], slot["failure"]["code"]) == ("small", "engine_died")
    assert then["items"][0]["failure"] is None
    assert [row["outcome"] for row in history["items"]] == ["failed", "completed"]
    assert history["items"][0]["returnedTo"] == "small"
    [serving] = active["items"]
    assert (serving["model"], serving["health"]) == ("small", "ready")
    assert serving["path"] == f"/serve/{SLOT}/v1"
    one = await house.get("/runtime/history", activation=id)
    assert [row["id"] for row in one["items"]] == [id]
    assert (await house.get("/runtime/history", outcome="completed"))["items"][0][
        "model"
    ] == "small"
    assert (await house.get("/runtime", slot="other"))["items"] == []
    assert len((await house.get("/runtime", state="serving"))["items"]) == 1
    status = await house.get("/models/status")
    assert [(row["slot"], row["health"]) for row in status["items"]] == [(SLOT, "ready")]


async def test_pods_are_shown_with_their_containers_and_gpus_are_summed_up(house: Rig) -> None:
    await stocked(house, "small")
    id = await house.serve("small")
    container = ContainerStatus("engine", "waiting", "CrashLoopBackOff", restarts=3)
    one = PodStatus("p-1", "Running", gpus=1, activation=id, containers=(container,))
    seen = await observe(house, "degraded", one, PodStatus("p-2", "Pending", gpus=2))
    await observe(house, "ready", PodStatus("p-3", "Running", gpus=1), slot="other")

    pods = await house.get("/runtime/pods", slot=SLOT, min_sequence=seen)
    house.world.refusal = Rejected("cluster_unreachable", "the cluster does not answer")
    alone = await house.get("/runtime/pods", slot=SLOT)

    assert [pod["name"] for pod in pods["items"]] == ["p-1", "p-2"]
    assert pods["items"][0]["model"] == "small"
    assert pods["items"][0]["containers"][0]["reason"] == "CrashLoopBackOff"
    assert pods["gpus"] == {"requested": 3, "total": 4, "free": 3}
    assert (alone["gpus"]["total"], alone["nodes"]) == (None, [])
    assert "cluster_unreachable" in alone["note"]


async def test_an_engines_log_is_read(gate: Rig) -> None:
    gate.world.lines["p-1"] = [b"one\n", b"two\n", b"three\n"]

    answer = await gate.ask("GET", "/runtime/pods/p-1/logs?tail=2")
    unknown = await gate.ask("GET", "/runtime/pods/p-2/logs")
    gate.world.lines["silent"] = []
    silent = await gate.ask("GET", "/runtime/pods/silent/logs")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "two\nthree\n"
    assert (unknown.status_code, problem(unknown)) == (404, "not_found")
    assert (silent.status_code, silent.text) == (200, "")


async def test_a_log_is_followed_until_the_gateway_stops(gate: Rig) -> None:
    gate.world.lines["p-1"] = [b"one\n"]
    headers = {"Authorization": f"Bearer {gate.admin}"}
    path = "/runtime/pods/p-1/logs?follow=true"

    async with gate.client.stream("GET", path, headers=headers) as answer:
        parts = answer.aiter_raw()
        assert await anext(parts) == b"one\n"
        gate.app.state.connections.end_all()
        assert [part async for part in parts] == []


async def test_what_happened_to_a_slot_is_told_by_the_log_and_by_the_world(house: Rig) -> None:
    await stocked(house, "small")
    id = await house.activate("small")
    await house.say(FailActivation(SLOT, id, "engine_died", "it ended", 1))
    seen = await observe(house, "failed")
    house.world.happened[SLOT] = [warning("BackOff", "restarting failed container")]
    since = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()

    page = await house.get("/runtime/events", min_sequence=seen)
    recent = await house.get("/runtime/events", since=since, slot=SLOT)
    none = await house.get("/runtime/events", slot="other")
    house.world.refusal = Rejected("forbidden_cluster", "may not list events")
    without = await house.get("/runtime/events", slot=SLOT)

    assert [event["reason"] for event in page["items"]] == [
        "model.activation.requested",
        "model.activation.failed",
        "model.status.updated",
        "BackOff",
    ]
    kinds = [event["kind"] for event in page["items"]]
    assert kinds == ["normal", "warning", "warning", "warning"]
    assert "engine_died" in page["items"][1]["message"]
    assert page["items"][1]["sequence"] > 0
    assert recent == page
    assert none["items"] == []
    assert without["items"][-1]["reason"] == "forbidden_cluster"
    wrong = await house.ask("GET", "/runtime/events?since=yesterday")
    assert (wrong.status_code, problem(wrong)) == (400, "invalid")


async def test_a_slot_is_diagnosed_from_all_that_is_known(gate: Rig) -> None:
    await stocked(gate, "small")
    idle = await gate.get("/runtime/diagnose")
    id = await gate.activate("small")
    await gate.say(StartActivation(SLOT, id, "worker"))
    await gate.say(FailActivation(SLOT, id, "engine_died", "exit code 1", 1))
    await observe(gate, "failed", PodStatus("p-1", "Failed"))
    gate.world.lines["p-1"] = [b"loading\ntorch.OutOfMemoryError: CUDA out of memory\n"]

    found = await gate.get("/runtime/diagnose", slot=SLOT)

    assert (idle["state"], idle["healthy"]) == ("idle", True)
    assert (found["state"], found["healthy"]) == ("failed", False)
    worst = found["findings"][0]
    assert worst["severity"] == "error"
    assert "memory" in worst["problem"]
    assert "CUDA out of memory" in worst["evidence"][0]
    assert "maxModelLen" in worst["remedy"]


async def test_a_log_that_outlives_what_failed_is_named_and_read(gate: Rig) -> None:
    await stocked(gate, "small")
    id = await gate.activate("small")
    await observe(gate, "loading", PodStatus("p-1", "Running", activation=id))
    await gate.say(StartActivation(SLOT, id, "worker"))
    await gate.say(FailActivation(SLOT, id, "engine_failed", "exit code 1", 1))
    await observe(gate, "absent")
    gate.world.lines["p-1"] = [b"torch.OutOfMemoryError: CUDA out of memory\n"]

    kept = (await gate.get("/runtime/diagnose", slot=SLOT))["findings"]
    gate.world.lines.clear()
    gone = (await gate.get("/runtime/diagnose", slot=SLOT))["findings"]

    assert "memory" in kept[0]["problem"]
    assert kept[1]["remedy"] == "look at its log (`mllm runtime logs p-1`)"
    assert gone[0]["remedy"] == f"see what happened (`mllm runtime events {SLOT}`)"


async def test_a_world_that_is_away_does_not_stand_in_a_diagnosis_way(gate: Rig) -> None:
    await stocked(gate, "small")
    id = await gate.serve("small")
    await gate.say(ReportDrift(SLOT, id, ("spec.replicas",)))
    await observe(gate, "ready", PodStatus("p-1", "Running"))
    gate.world.refusal = Rejected("cluster_unreachable", "the cluster does not answer")

    found = await gate.get("/runtime/diagnose")

    assert [finding["evidence"] for finding in found["findings"]] == [["spec.replicas"]]


async def test_a_token_has_only_so_many_streams(
    nats_url: str, stream_prefix: str, tmp_path: Path
) -> None:
    settings = Settings(most_streams=2)
    async with gateway(nats_url, stream_prefix, tmp_path, settings=settings) as rig:
        other = await rig.issue("read")
        async with rig.stream() as one, rig.stream() as two:
            await asyncio.gather(anext(one), anext(two))
            third = await rig.ask("GET", "/events")
            assert (third.status_code, problem(third)) == (429, "too_many_streams")
            async with rig.stream(bearer=other) as another:
                await anext(another)

        async def room() -> bool:
            return len(rig.app.state.connections) == 0

        await eventually(room)
        async with rig.stream() as again:
            await anext(again)


async def test_head_is_answered_as_get_is_without_the_body(gate: Rig) -> None:
    got = await gate.ask("GET", "/system/info")
    head = await gate.ask("HEAD", "/system/info")
    unknown = await gate.ask("HEAD", "/nowhere")
    closed = await gate.ask("HEAD", "/system/info", "")
    stream = await gate.ask("HEAD", "/events")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(got.content))
    assert head.headers["content-type"] == got.headers["content-type"]
    assert (unknown.status_code, unknown.content) == (404, b"")
    assert closed.status_code == 401
    assert stream.headers["content-type"].startswith("text/event-stream")

    async def left() -> bool:
        return len(gate.app.state.connections) == 0

    await eventually(left)
