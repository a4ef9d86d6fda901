"""Commands over HTTP, with Postgres away: nothing of this needs it."""

from tests.gateway.rig import Rig, problem


async def test_an_install_is_accepted_with_its_whole_job(gate: Rig) -> None:
    body = {"hfModelId": "org/model", "priority": 0}
    answer = await gate.ask("POST", "/weights/install", json=body)

    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    assert accepted["job"]["status"] == "pending"
    assert accepted["job"]["model"] == "org/model"
    assert accepted["job"]["priority"] == 0
    assert accepted["job"]["correlation"] == answer.headers["x-request-id"]
    assert accepted["jobUrl"] == f"/jobs/{accepted['job']['id']}"
    assert accepted["target"] == "org/model"
    assert accepted["storageUri"] == "pvc://default/default/org/model"
    assert accepted["inferenceModelPath"] == "default/org/model"
    assert accepted["sequence"] == await gate.log.end()
