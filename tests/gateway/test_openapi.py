"""The API's description, and the page that draws it."""

import re
from typing import Any

from gateway.admission import PUBLIC, handlers
from tests.gateway.rig import Rig, problem


async def document(gate: Rig) -> dict[str, Any]:
    found: dict[str, Any] = await gate.get("/openapi.json")
    return found


async def test_every_route_is_described_with_its_scope(gate: Rig) -> None:
    paths = (await document(gate))["paths"]

    for path, method, handler in handlers(gate.app):
        if path == "/":
            continue
        operation = paths[path][method.lower()]
        assert operation["description"], path
        if path not in PUBLIC:
            assert operation["x-scope"] == handler.opt["scope"]
            assert operation["security"] == [{"bearer": []}]


async def test_what_stands_in_a_path_is_called_what_the_contract_calls_it(gate: Rig) -> None:
    paths = (await gate.get("/openapi.json"))["paths"]

    assert {
        "/recommendations/{gpuType}",
        "/vllm/model/{architecture}",
        "/weights/install/status/{job}",
        "/models/{id}/aliases/{alias}",
        "/runtime/pods/{name}/logs",
    } <= paths.keys()


async def test_bodies_are_described_as_strictly_as_they_are_read(gate: Rig) -> None:
    schemas = (await document(gate))["components"]["schemas"]

    assert schemas["InstallBody"]["additionalProperties"] is False
    assert schemas["InstallBody"]["required"] == ["hfModelId"]
    assert schemas["InstallBody"]["properties"]["hfModelId"]["pattern"]
    assert schemas["Problem"]["properties"]["code"]


async def test_what_holds_for_every_route_is_said_of_every_route(gate: Rig) -> None:
    paths = (await document(gate))["paths"]

    def names(path: str, method: str) -> set[str]:
        return {parameter["name"] for parameter in paths[path][method]["parameters"]}

    assert {"namespace", "X-Mllm-Namespace"} <= names("/jobs", "get")
    assert {"min_sequence", "X-Min-Sequence", "as_of", "limit", "cursor"} <= names("/jobs", "get")
    assert "Idempotency-Key" in names("/weights/install", "post")
    assert paths["/jobs"]["get"]["responses"]["4XX"] == {"$ref": "#/components/responses/Problem"}


async def test_every_reference_leads_somewhere(gate: Rig) -> None:
    text = (await gate.ask("GET", "/openapi.json")).text
    found = await document(gate)

    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', text)):
        place: Any = found
        for part in reference.split("/"):
            place = place[part]


async def test_the_documentation_asks_no_third_party_anything(gate: Rig) -> None:
    answer = await gate.ask("GET", "/docs")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", answer.text)
    assert "connect-src 'self'" in answer.headers["content-security-policy"]


async def test_a_browser_without_a_token_is_asked_for_one(gate: Rig) -> None:
    browser = await gate.ask("GET", "/docs", "", headers={"Accept": "text/html,*/*;q=0.8"})
    program = await gate.ask("GET", "/docs", "")

    assert browser.status_code == 401
    assert browser.headers["content-type"].startswith("text/html")
    assert browser.headers["www-authenticate"]
    assert (program.status_code, problem(program)) == (401, "unauthenticated")


async def test_the_front_door_leads_to_the_documentation(gate: Rig) -> None:
    answer = await gate.ask("GET", "/", "")

    assert '<a href="/docs">' in answer.text
