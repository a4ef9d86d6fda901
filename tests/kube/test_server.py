"""Our own server answers as a real one was recorded to: API server 1.36, KServe's v1beta1 CRD."""

import json

import pytest
from aiohttp import ClientSession

from tests.kube.conftest import OwnWorld
from tests.kube.hand import APPLY, MERGE
from tests.kube.instances import SLOT
from tests.kube.plain import Json
from tests.kube.server import TOKEN

ROOT = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
ONE = f"{ROOT}/{SLOT}"


def service(model: str = "a", **predictor: object) -> Json:
    said: Json = {
        "minReplicas": 1,
        "model": {
            "args": [f"--model_name={model}"],
            "modelFormat": {"name": "huggingface"},
            "storageUri": f"pvc://models/{model}",
        },
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": SLOT,
            "annotations": {"model-manager/model-id": model},
            "labels": {"app.kubernetes.io/managed-by": "mllm"},
        },
        "spec": {"predictor": {**said, **predictor}},
    }


async def apply(
    own: OwnWorld, body: Json, manager: str = "mllm", more: str = "", name: str = SLOT
) -> tuple[int, Json]:
    path = f"{ROOT}/{name}?fieldManager={manager}{more}"
    return await own.hand.ask("PATCH", path, body, APPLY)


async def test_the_first_apply_creates(own: OwnWorld) -> None:
    status, said = await apply(own, service())

    assert status == 201
    meta = said["metadata"]
    assert (meta["generation"], meta["name"], meta["namespace"]) == (1, SLOT, "default")
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 200
    assert said["spec"] == service()["spec"]


async def test_another_manager_meets_a_conflict_that_names_every_field(own: OwnWorld) -> None:
    await apply(own, service())

    status, said = await apply(own, service("b"), "other")

    fields = [
        ".metadata.annotations.model-manager/model-id",
        ".spec.predictor.model.args",
        ".spec.predictor.model.storageUri",
    ]
    lines = "".join(f"\n- {field}" for field in fields)
    why = 'conflict with "mllm"'
    causes = [{"reason": "FieldManagerConflict", "message": why, "field": one} for one in fields]
    assert status == 409
    assert said == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f'Apply failed with 3 conflicts: conflicts with "mllm":{lines}',
        "reason": "Conflict",
        "details": {"causes": causes},
        "code": 409,
    }


async def test_a_dry_run_moves_the_generation_and_not_the_version(own: OwnWorld) -> None:
    _, before = await apply(own, service())

    status, said = await apply(own, service("b"), more="&dryRun=All")

    assert status == 200
    assert said["metadata"]["generation"] == 2
    assert said["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert said["spec"]["predictor"]["model"]["args"] == ["--model_name=b"]
    assert (await own.hand.ask("GET", ONE))[1] == before


async def test_a_wrongly_typed_field_is_an_error_of_the_server(own: OwnWorld) -> None:
    body = service(minReplicas="many")
    status, said = await apply(own, body | {"metadata": {"name": "bad"}}, name="bad")

    assert status == 500
    assert "reason" not in said
    assert said["message"] == (
        "failed to create typed patch object (/bad; serving.kserve.io/v1beta1,"
        " Kind=InferenceService): .spec.predictor.minReplicas: expected numeric (int or float),"
        " got string"
    )


async def test_a_bad_name_is_unprocessable(own: OwnWorld) -> None:
    body = service() | {"metadata": {"name": "Bad_Name"}}
    status, said = await apply(own, body, name="Bad_Name")

    assert (status, said["reason"]) == (422, "Invalid")
    begin = 'InferenceService.serving.kserve.io "Bad_Name" is invalid: metadata.name: Invalid value'
    assert said["message"].startswith(begin)
    assert said["details"]["causes"][0]["field"] == "metadata.name"


async def test_what_is_not_served_is_answered_in_plain_text(own: OwnWorld) -> None:
    status, said = await own.hand.ask("GET", ROOT.replace("v1beta1", "v9"))

    assert (status, said) == (404, {"text": "404 page not found\n"})


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"Authorization": "Bearer wrong"}, 401, "Unauthorized"),
        (
            {
                "Authorization": f"Bearer {TOKEN}",
                "Impersonate-User": "system:serviceaccount:default:nope",
            },
            403,
            'inferenceservices.serving.kserve.io is forbidden: User "system:serviceaccount:default:'
            'nope" cannot list resource "inferenceservices" in API group "serving.kserve.io" in the'
            ' namespace "default"',
        ),
    ],
)
async def test_who_may_not_is_told_so(
    own: OwnWorld, headers: dict[str, str], status: int, message: str
) -> None:
    async with ClientSession() as session, session.get(own.url + ROOT, headers=headers) as answer:
        said = await answer.json()

    assert (answer.status, said["code"], said["message"]) == (status, status, message)


async def test_a_watch_from_too_long_ago_is_an_error_event(own: OwnWorld) -> None:
    own.server.forget()

    said = await watched(own, "1")

    assert said == {
        "type": "ERROR",
        "object": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": f"too old resource version: 1 ({own.server.storage.oldest})",
            "reason": "Expired",
            "code": 410,
        },
    }


async def test_deleting_says_what_and_the_second_time_that_it_is_not_found(own: OwnWorld) -> None:
    _, made = await apply(own, service())

    first = await own.hand.ask("DELETE", ONE)
    second = await own.hand.ask("DELETE", ONE)

    details = {"name": SLOT, "group": "serving.kserve.io", "kind": "inferenceservices"}
    success: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    assert first == (200, success | {"details": details | {"uid": made["metadata"]["uid"]}})
    assert second[0] == 404
    assert second[1]["details"] == details
    assert second[1]["message"] == f'inferenceservices.serving.kserve.io "{SLOT}" not found'


async def test_a_watch_tells_of_status_of_labels_and_of_what_is_wanted(own: OwnWorld) -> None:
    _, made = await apply(own, service())
    version = made["metadata"]["resourceVersion"]
    status = {"status": {"observedGeneration": 1}}
    await own.hand.ask("PATCH", f"{ONE}/status", status, MERGE)
    await own.hand.ask("PATCH", ONE, {"metadata": {"labels": {"foreign": "yes"}}}, MERGE)
    await apply(own, service("b"), more="&force=true")
    await own.hand.ask("DELETE", ONE)

    seen = await watched_all(own, version, 5)

    said = [(one["type"], one["object"]["metadata"].get("generation")) for one in seen]
    assert said == [
        ("MODIFIED", 1),
        ("MODIFIED", 1),
        ("MODIFIED", 2),
        ("DELETED", 2),
        ("BOOKMARK", None),
    ]
    assert [one["object"]["status"] for one in seen[:4]] == [status["status"]] * 4
    assert seen[2]["object"]["metadata"]["labels"]["foreign"] == "yes"
    assert len({one["object"]["metadata"]["resourceVersion"] for one in seen}) == 4


async def test_a_selector_lets_go_of_what_it_no_longer_selects(own: OwnWorld) -> None:
    _, made = await apply(own, service())
    patch = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "another"}}}
    await own.hand.ask("PATCH", ONE, patch, MERGE)

    selector = "&labelSelector=app.kubernetes.io/managed-by%3Dmllm"
    said = await watched(own, made["metadata"]["resourceVersion"], selector)

    assert said["type"] == "DELETED"


async def test_a_list_goes_on_where_its_page_ended(own: OwnWorld) -> None:
    for name in "abc":
        await apply(own, service() | {"metadata": {"name": name}}, name=name)

    _, first = await own.hand.ask("GET", f"{ROOT}?limit=2")
    token = first["metadata"]["continue"]
    _, rest = await own.hand.ask("GET", f"{ROOT}?limit=2&continue={token}")
    status, _ = await own.hand.ask("GET", f"{ROOT}?limit=2&continue={token}")

    names = [one["metadata"]["name"] for one in (*first["items"], *rest["items"])]
    assert names == ["a", "b", "c"]
    assert "continue" not in rest["metadata"]
    assert status == 410


async def watched(own: OwnWorld, version: str, more: str = "") -> Json:
    return (await watched_all(own, version, 1, more))[0]


async def watched_all(own: OwnWorld, version: str, count: int, more: str = "") -> list[Json]:
    """The first things that a watch says."""
    url = f"{own.url}{ROOT}?watch=true&allowWatchBookmarks=true&resourceVersion={version}{more}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status == 200
        return [json.loads(await answer.content.readline()) for _ in range(count)]
