"""Commands over HTTP, with Postgres away: nothing of this needs it."""

import asyncio
from collections.abc import Sequence

from ulid import ULID

from schemas.job import FailAttempt, StartAttempt
from schemas.log import Commit, Stream
from schemas.message import Rejected
from tests.gateway.rig import COMMIT, Rig, problem

INSTALL = "/weights/install"
REFUSALS = {
    "not_found": 404,
    "gated": 403,
    "no_space": 507,
    "hub_unreachable": 503,
    "nothing_to_install": 422,
    "unknown_store": 422,
    "something_new": 422,
}


async def test_an_install_is_accepted_with_its_whole_job(gate: Rig) -> None:
    body = {"hfModelId": "org/model", "priority": 0}
    answer = await gate.ask("POST", INSTALL, json=body)

    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    assert accepted["job"]["status"] == "pending"
    assert accepted["job"]["model"] == "org/model"
    assert accepted["job"]["priority"] == 0
    assert accepted["job"]["correlation"] == answer.headers["x-request-id"]
    assert accepted["job"]["requestedBy"].startswith("token/")
    assert accepted["jobUrl"] == f"/jobs/{accepted['job']['id']}"
    assert accepted["target"] == "org/model"
    assert accepted["storageUri"] == "pvc://default/default/org/model"
    assert accepted["inferenceModelPath"] == "default/org/model"
    assert accepted["sequence"] == await gate.log.end()


async def test_the_same_content_asked_for_at_once_is_one_job(gate: Rig) -> None:
    asked = [gate.ask("POST", INSTALL, json={"hfModelId": "org/model"}) for _ in range(5)]
    answers = await asyncio.gather(*asked)

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job"]["id"] for answer in answers}) == 1


async def test_other_content_for_a_reserved_target_is_a_conflict(gate: Rig) -> None:
    first = await gate.ask("POST", INSTALL, json={"hfModelId": "org/one", "target": "here"})
    second = await gate.ask("POST", INSTALL, json={"hfModelId": "org/two", "target": "here"})

    assert second.status_code == 409
    assert problem(second) == "conflict"
    assert second.json()["details"]["job"] == first.json()["job"]["id"]


async def test_a_namespace_has_targets_of_its_own(gate: Rig) -> None:
    one = await gate.ask("POST", INSTALL, json={"hfModelId": "org/one", "target": "here"})
    body = {"hfModelId": "org/two", "target": "here"}
    two = await gate.ask("POST", f"{INSTALL}?namespace=other", json=body)

    assert (one.status_code, two.status_code) == (202, 202)
    assert two.json()["storageUri"] == "pvc://default/other/here"


async def since(rig: Rig, position: int) -> Sequence[Commit]:
    return await rig.log.fetch(range(position + 1, await rig.log.end() + 1))


async def test_a_target_inside_another_is_refused_before_there_is_a_job(gate: Rig) -> None:
    await gate.order("org")
    before = await gate.log.end()

    for path in (INSTALL, "/weights/plan"):
        answer = await gate.ask("POST", path, json={"hfModelId": "org/model"})
        assert (answer.status_code, problem(answer)) == (409, "conflict")
    body = {"hfModelId": "org/model"}
    elsewhere = await gate.ask("POST", f"{INSTALL}?namespace=other", json=body)

    assert elsewhere.status_code == 202
    assert {commit.stream.namespace for commit in await since(gate, before)} == {"other"}


async def test_a_target_around_another_is_refused_before_there_is_a_job(house: Rig) -> None:
    inner = await house.order("org/model")
    await house.get("/weights", min_sequence=inner.position)
    before = await house.log.end()

    for path in (INSTALL, "/weights/plan"):
        body = {"hfModelId": "org/other", "target": "org"}
        answer = await house.ask("POST", path, json=body)
        assert (answer.status_code, problem(answer)) == (409, "conflict")
    assert await house.log.end() == before


async def test_what_the_planner_refuses_leaves_no_job(gate: Rig) -> None:
    before = await gate.log.end()

    for code, status in REFUSALS.items():
        gate.plans.refusal = Rejected(code, "no", remedy="do it", free=1, needed=2)
        for path in (INSTALL, "/weights/plan"):
            answer = await gate.ask("POST", path, json={"hfModelId": "org/model"})
            assert answer.status_code == status
            assert problem(answer) == code
            assert answer.json()["remedy"] == "do it"
            assert answer.json()["details"] == {"free": 1, "needed": 2}
    assert await gate.log.end() == before


async def test_a_plan_says_what_an_install_would_bring(gate: Rig) -> None:
    answer = await gate.ask("POST", "/weights/plan", json={"hfModelId": "org/model"})

    assert answer.status_code == 200
    assert answer.json()["commit"] == COMMIT
    assert answer.json()["bytes"] == 10_100
    assert [file["path"] for file in answer.json()["files"]] == ["config.json", "model.safetensors"]


async def test_a_job_is_steered(gate: Rig) -> None:
    outcome = await gate.order("org/model")
    job = f"/jobs/{outcome.history[0].stream.id}"

    async def steer(verb: str, body: object = None) -> dict[str, object]:
        answer = await gate.ask("POST", f"{job}/{verb}", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.json()["sequence"] == await gate.log.end()
        row: dict[str, object] = answer.json()["job"]
        return row

    assert (await steer("pause"))["status"] == "paused"
    assert (await steer("resume"))["status"] == "pending"
    assert (await steer("priority", {"priority": 2}))["priority"] == 2
    assert (await steer("cancel", {"keepPartial": True}))["status"] == "cancelled"
    assert (await steer("retry", {"clean": True}))["status"] == "pending"


async def test_a_body_that_may_be_left_out_may_be_left_out(gate: Rig) -> None:
    outcome = await gate.order("org/model")

    answer = await gate.ask("POST", f"/jobs/{outcome.history[0].stream.id}/cancel")

    assert answer.json()["job"]["status"] == "cancelled"


async def test_too_late_is_a_conflict_and_unknown_is_not_found(gate: Rig) -> None:
    outcome = await gate.order("org/model")
    job = outcome.history[0].stream.id
    await gate.ask("POST", f"/jobs/{job}/cancel")

    assert problem(await gate.ask("POST", f"/jobs/{job}/pause")) == "conflict"
    for verb in ("cancel", "retry", "pause", "resume"):
        answer = await gate.ask("POST", f"/jobs/{ULID()}/{verb}")
        assert answer.status_code == 404
        assert problem(answer) == "not_found"


async def test_another_namespaces_job_is_unknown(gate: Rig) -> None:
    outcome = await gate.order("org/model", "other")

    answer = await gate.ask("POST", f"/jobs/{outcome.history[0].stream.id}/cancel")

    assert answer.status_code == 404


async def test_verifying_and_deleting_are_jobs(gate: Rig) -> None:
    await gate.install("org/model")

    verify = await gate.ask("POST", "/weights/verify", json={"name": "org/model"})
    delete = await gate.ask("DELETE", "/weights?name=org/model")

    assert verify.status_code == 202, verify.text
    assert verify.json()["job"]["type"] == "verify"
    assert delete.status_code == 202, delete.text
    assert delete.json()["job"]["type"] == "delete"


async def test_what_is_not_installed_is_neither_verified_nor_deleted(gate: Rig) -> None:
    verify = await gate.ask("POST", "/weights/verify", json={"name": "org/model"})
    delete = await gate.ask("DELETE", "/weights?name=org/model")

    assert problem(verify) == problem(delete) == "not_found"


async def test_a_job_that_failed_says_why_when_it_is_touched(gate: Rig) -> None:
    outcome = await gate.order("org/model")
    job = outcome.history[0].stream.id
    await gate.say(StartAttempt(job, 1, "w"))
    at = gate.context().at
    await gate.say(FailAttempt(job, 1, "gated", "ask first", False, at, 3, "open the page"))

    answer = await gate.ask("POST", f"/jobs/{job}/cancel")

    assert answer.status_code == 409
    assert "failed" in answer.json()["detail"]


async def test_who_asked_and_why_is_on_the_log(gate: Rig) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"traceparent": trace, "X-Request-Id": "from-outside-1"}

    answer = await gate.ask("POST", INSTALL, json={"hfModelId": "org/model"}, headers=headers)

    job = answer.json()["job"]["id"]
    [commit] = await gate.log.load(Stream("default", "job", job))
    assert answer.headers["x-request-id"] == "from-outside-1"
    assert commit.correlation == "from-outside-1"
    assert commit.actor == answer.json()["job"]["requestedBy"]
    assert commit.traceparent.split("-")[1] == trace.split("-")[1]
