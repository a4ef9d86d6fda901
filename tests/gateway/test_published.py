"""Schemas, as editors fetch them."""

from schemas.manifest_reading import manifest_schema
from tests.gateway.rig import Rig, problem


async def test_the_schema_of_manifests_is_served_as_a_schema(gate: Rig) -> None:
    answer = await gate.ask("GET", "/schemas/model-manifest", await gate.issue("read"))

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.json() == manifest_schema()


async def test_an_unknown_schema_is_not_found(gate: Rig) -> None:
    answer = await gate.ask("GET", "/schemas/nothing")

    assert (answer.status_code, problem(answer)) == (404, "not_found")
    assert "model-manifest" in answer.json()["remedy"]


async def test_schemas_are_for_those_who_may_read(gate: Rig) -> None:
    answer = await gate.ask("GET", "/schemas/model-manifest", "")

    assert (answer.status_code, problem(answer)) == (401, "unauthenticated")
