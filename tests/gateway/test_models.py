"""The catalog over HTTP: manifests applied, found, compared, written and taken away."""

import msgspec
import pytest
import yaml

from schemas.api.models import Applied, DiffAnswer
from schemas.checks import CHECKS, Check
from schemas.facts import Facts
from schemas.manifest_reading import read_manifest
from schemas.message import Rejected
from tests.gateway.rig import Rig, problem
from tests.gateway.worlds import CARD

SMALL = {"id": "small", "weights": {"target": "org/model"}}
BIG = {"id": "big", "weights": {"repo": "org/big"}, "labels": {"team": "search"}, "runtime": "vllm"}


async def test_a_manifest_that_is_applied_is_a_model(house: Rig) -> None:
    answer = await house.ask("PUT", "/models/small", json=SMALL)

    assert answer.status_code == 201, answer.text
    applied = msgspec.json.decode(answer.content, type=Applied)
    assert (applied.created, applied.changed, applied.dry_run) == (True, True, False)
    assert [check.name for check in applied.checks] == ["schema", "weights"]
    assert applied.model.updated_by.startswith("token/")
    seen = await house.get("/models/small", min_sequence=applied.sequence)
    assert seen == answer.json()["model"] | {"aliases": [], "slots": [], "engine": ""}


async def test_a_model_is_listed_under_the_id_of_its_manifest(house: Rig) -> None:
    position = await house.register("small")

    [row] = (await house.get("/models", min_sequence=position))["items"]

    assert row["id"] == row["manifest"]["id"] == "small"
    assert (await house.get(f"/models/{row['id']}"))["id"] == "small"


async def test_the_same_manifest_again_changes_nothing_and_another_is_the_next_version(
    gate: Rig,
) -> None:
    first = (await gate.ask("PUT", "/models/small", json=SMALL)).json()
    again = await gate.ask("PUT", "/models/small", json=SMALL)
    other = await gate.ask("PUT", "/models/small", json=SMALL | {"license": "mit"})

    assert again.status_code == 200
    assert (again.json()["created"], again.json()["changed"]) == (False, False)
    assert again.json()["model"] == first["model"]
    assert (other.json()["created"], other.json()["changed"]) == (False, True)
    assert other.json()["model"]["version"] > first["model"]["version"]
    assert other.json()["model"]["registeredAt"] == first["model"]["registeredAt"]


async def test_an_idempotency_key_brings_the_first_answer_again(gate: Rig) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await gate.ask("PUT", "/models/small", json=SMALL, headers=headers)
    await gate.ask("DELETE", "/models/small")
    again = await gate.ask("PUT", "/models/small", json=SMALL, headers=headers)

    assert (again.status_code, again.json()) == (201, first.json())


async def test_a_request_whose_answer_was_lost_is_answered_as_it_would_have_been(gate: Rig) -> None:
    headers = {"Idempotency-Key": "k1"}
    gate.keys.killed = True
    first = await gate.ask("PUT", "/models/small", json=SMALL, headers=headers)
    gate.keys.killed = False
    await gate.ask("DELETE", "/models/small")
    again = await gate.ask("PUT", "/models/small", json=SMALL, headers=headers)

    assert again.status_code == 201
    assert again.json()["model"] == first.json()["model"]


async def test_a_dry_run_says_what_would_be_and_does_nothing(gate: Rig) -> None:
    end = await gate.log.end()

    answer = await gate.ask("PUT", "/models/small?dryRun=true", json=SMALL)

    assert answer.status_code == 200
    would = answer.json()
    assert (would["created"], would["changed"], would["dryRun"]) == (True, True, True)
    assert would["model"]["manifest"]["weights"]["target"] == "org/model"
    assert await gate.log.end() == end
    await gate.register("small")
    same = (await gate.ask("PUT", "/models/small?dryRun=true", json=SMALL)).json()
    assert (same["created"], same["changed"]) == (False, False)
    other = SMALL | {"license": "mit"}
    next_ = (await gate.ask("PUT", "/models/small?dryRun=true", json=other)).json()
    assert (next_["created"], next_["changed"]) == (False, True)


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (SMALL | {"aliases": ["big"]}, "big is a model's own id"),
        (SMALL | {"id": "chat"}, "chat is an alias of big"),
    ],
)
async def test_what_applying_refuses_a_dry_run_and_a_validation_refuse_too(
    gate: Rig, manifest: dict[str, object], why: str
) -> None:
    await gate.register("big", aliases=("chat",))
    path = f"/models/{manifest['id']}"

    for query in ("", "?dryRun=true"):
        answer = await gate.ask("PUT", path + query, json=manifest)
        assert (answer.status_code, answer.json()["detail"]) == (409, why)
    answer = await gate.ask("POST", "/catalog/validate", json={"manifest": manifest})
    [check] = [one for one in answer.json()["checks"] if one["name"] == "catalog"]
    assert (answer.json()["valid"], check["outcome"], check["reason"]) == (False, "fail", why)
    assert check["remedy"]


async def test_the_id_may_be_left_to_the_path_but_not_differ_from_it(gate: Rig) -> None:
    without = await gate.ask("PUT", "/models/small", json={"weights": {"target": "org/model"}})
    other = await gate.ask("PUT", "/models/other", json=SMALL)

    assert without.status_code == 201
    assert (other.status_code, problem(other)) == (422, "invalid_manifest")


async def test_an_unknown_field_is_refused_with_the_nearest_known(gate: Rig) -> None:
    answer = await gate.ask("PUT", "/models/small", json=SMALL | {"licence": "mit"})

    assert (answer.status_code, problem(answer)) == (422, "invalid_manifest")
    [error] = answer.json()["errors"]
    assert "licence" in error
    assert "license" in error


async def test_models_are_listed_with_the_engine_that_their_weights_choose(house: Rig) -> None:
    gguf = Facts(format="gguf", gguf_files=("model.gguf",))
    await house.install("org/gguf", "model.gguf", facts=gguf)
    await house.install("org/tensors", facts=Facts(format="safetensors"))
    await house.register("a", "org/gguf")
    await house.register("b", "org/tensors")
    await house.register("c", "org/gguf", runtime="mine")
    position = await house.register("d", "org/absent")

    listed = (await house.get("/models", min_sequence=position))["items"]
    one = await house.get("/models/a")

    assert [row["engine"] for row in listed] == ["llamacpp", "vllm", "mine", ""]
    assert (one["engine"], one["runtime"]) == ("llamacpp", "")
    for engine, names in (("llamacpp", ["a"]), ("vllm", ["b"]), ("mine", ["c"]), ("other", [])):
        found = await house.get("/models", runtime=engine)
        assert [row["id"] for row in found["items"]] == names
    await house.serve("a")
    active = await house.get("/active", min_sequence=await house.log.end())
    assert [row["runtime"] for row in active["items"]] == ["llamacpp"]


async def test_models_are_listed_with_their_aliases_and_where_they_serve(house: Rig) -> None:
    await house.install("org/model")
    await house.register("small", aliases=("chat",))
    await house.ask("PUT", "/models/big", json=BIG)
    await house.serve("small")
    end = await house.log.end()

    async def names(**query: str) -> list[str]:
        page = await house.get("/models", min_sequence=end, **query)
        return [row["id"] for row in page["items"]]

    assert await names() == ["big", "small"]
    assert await names(alias="chat") == ["small"]
    assert await names(alias="nothing") == []
    assert await names(label="team") == ["big"]
    assert await names(label="team=search") == ["big"]
    assert await names(label="team=other") == []
    assert await names(runtime="vllm") == ["big"]
    assert await names(target="org/model") == ["small"]
    assert await names(as_of="seq:0") == []
    first = await house.get("/models", limit=1)
    rest = await house.get("/models", limit=1, cursor=first["nextCursor"])
    assert [row["id"] for row in (*first["items"], *rest["items"])] == ["big", "small"]
    small = await house.get("/models/chat")
    assert (small["id"], small["aliases"], small["slots"]) == ("small", ["chat"], ["active-llm"])


async def test_an_unknown_model_is_not_found_anywhere(house: Rig) -> None:
    for path in ("", "/manifest", "/history", "/compatibility?gpuType=l40s"):
        answer = await house.ask("GET", f"/models/nothing{path}")
        assert (answer.status_code, problem(answer)) == (404, "not_found"), path
    for method, path in (("DELETE", ""), ("PUT", "/aliases/chat"), ("DELETE", "/aliases/chat")):
        answer = await house.ask(method, f"/models/nothing{path}")
        assert (answer.status_code, problem(answer)) == (404, "not_found"), path


async def test_a_manifest_comes_as_json_or_as_yaml(house: Rig) -> None:
    await house.ask("PUT", "/models/big", json=BIG)
    end = await house.log.end()
    headers = {"Accept": "application/yaml"}

    plain = await house.get("/models/big/manifest", min_sequence=end)
    text = await house.ask("GET", "/models/big/manifest", headers=headers)

    assert text.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(text.text) == BIG
    assert read_manifest(plain) == read_manifest(BIG)


async def test_every_version_of_a_manifest_can_be_had(house: Rig) -> None:
    first = (await house.ask("PUT", "/models/small", json=SMALL)).json()
    await house.ask(
        "PUT", "/models/small", json=SMALL | {"license": "mit", "engine": {"threads": 2}}
    )
    await house.ask("DELETE", "/models/small")
    last = (await house.ask("PUT", "/models/small", json=SMALL)).json()

    history = await house.get("/models/small/history")
    then = await house.get("/models/small/manifest", as_of=f"seq:{first['model']['version']}")

    changes = [item["change"] for item in history["items"]]
    assert changes == ["registered", "deleted", "updated", "registered"]
    assert history["items"][2]["changed"] == ["engine.threads", "license"]
    assert history["items"][0]["version"] == last["model"]["version"]
    assert then == first["model"]["manifest"]
    page = await house.get("/models/small/history", limit=3)
    rest = await house.get("/models/small/history", limit=3, cursor=page["nextCursor"])
    assert page["items"] + rest["items"] == history["items"]
    wrong = await house.ask("GET", "/models/small/history?cursor=x")
    assert (wrong.status_code, problem(wrong)) == (400, "invalid_cursor")


async def test_an_alias_is_given_and_taken(house: Rig) -> None:
    await house.register("small")
    await house.register("other")

    given = await house.ask("PUT", "/models/small/aliases/chat")
    assert given.status_code == 200, given.text
    seen = await house.get("/models/chat", min_sequence=given.json()["sequence"])
    not_its = await house.ask("DELETE", "/models/other/aliases/chat")
    taken = await house.ask("DELETE", "/models/small/aliases/chat")

    assert seen["id"] == "small"
    assert (not_its.status_code, problem(not_its)) == (404, "not_found")
    assert taken.json()["model"] == ""
    gone = await house.ask("GET", f"/models/chat?min_sequence={taken.json()['sequence']}")
    assert gone.status_code == 404


async def test_a_models_own_id_is_nobodys_alias(gate: Rig) -> None:
    await gate.register("small")
    await gate.register("other")

    answer = await gate.ask("PUT", "/models/small/aliases/other")

    assert (answer.status_code, problem(answer)) == (409, "conflict")


async def test_a_model_that_serves_is_not_deleted(gate: Rig) -> None:
    await gate.install("org/model")
    await gate.register("small")
    await gate.serve("small")

    refused = await gate.ask("DELETE", "/models/small")

    assert (refused.status_code, problem(refused)) == (409, "conflict")
    await gate.register("idle")
    assert (await gate.ask("DELETE", "/models/idle")).status_code == 200


async def test_all_checks_of_a_manifest_are_shown_whatever_came_of_them(gate: Rig) -> None:
    good = (await gate.ask("POST", "/catalog/validate", json={"manifest": SMALL})).json()
    gate.checks.found += (Check("capacity", "fail", "there are no GPUs", "buy some"),)
    bad = (await gate.ask("POST", "/catalog/validate", json={"manifest": SMALL})).json()
    none: dict[str, object] = {"id": "small", "weihgts": {}, "license": 3}
    wrong = await gate.ask("POST", "/catalog/validate", json={"manifest": none})

    assert (good["valid"], good["capacity"]["free"]) == (True, 4)
    assert [check["name"] for check in good["checks"]] == ["schema", "catalog", "weights"]
    assert (bad["valid"], len(bad["checks"])) == (False, 4)
    assert wrong.status_code == 200
    assert (wrong.json()["valid"], wrong.json()["manifest"]) == (False, None)
    assert {check["name"] for check in wrong.json()["checks"]} == {"schema", "catalog", *CHECKS}
    assert len(wrong.json()["checks"]) >= 2


async def test_a_slip_of_the_pen_hides_no_other_check(gate: Rig) -> None:
    manifest = SMALL | {"licence": "mit", "engine": {"tensorParalelSize": 2}}
    answer = await gate.ask("POST", "/catalog/validate", json={"manifest": manifest})

    names = [check["name"] for check in answer.json()["checks"]]
    assert names == ["schema", "schema", "catalog", "weights"]
    assert answer.json()["valid"] is False


@pytest.mark.parametrize("path", ["/catalog/validate", "/catalog/diff", "/models/small"])
async def test_a_field_that_is_there_twice_is_refused(gate: Rig, path: str) -> None:
    manifest = '{"id": "small", "weights": {"target": "a", "target": "b"}}'
    body = manifest if path == "/models/small" else f'{{"manifest": {manifest}}}'
    method = "PUT" if path == "/models/small" else "POST"

    headers = {"Content-Type": "application/json"}
    answer = await gate.ask(method, path, content=body, headers=headers)

    assert (answer.status_code, problem(answer)) == (400, "invalid")
    assert answer.json()["errors"] == ["target is there more than once"]


async def test_a_preview_shows_what_would_be_started(gate: Rig) -> None:
    body = {"manifest": SMALL, "slot": "other"}
    shown = await gate.ask("POST", "/catalog/preview", json=body)
    gate.world.refusal = Rejected("cluster_unreachable", "the cluster does not answer")
    away = await gate.ask("POST", "/catalog/preview", json=body)

    assert shown.json()["runtime"] == "process"
    assert shown.json()["object"]["command"] == ["serve", "small"]
    assert (away.status_code, problem(away)) == (503, "cluster_unreachable")


async def test_a_difference_is_told_field_by_field(gate: Rig) -> None:
    await gate.register("small")

    async def diff(**more: object) -> DiffAnswer:
        answer = await gate.ask("POST", "/catalog/diff", json={"manifest": SMALL | more})
        return msgspec.json.decode(answer.content, type=DiffAnswer)

    assert (await diff()).same
    changed = await diff(engine={"maxModelLen": 8}, env=[{"name": "A", "value": "b"}])
    assert not changed.same
    after = {change.path: change.after for change in changed.changes}
    assert (after["engine.maxModelLen"], after["env[0].name"]) == (8, "A")
    new = await diff(id="unknown")
    assert (new.same, new.version) == (False, 0)


async def test_a_manifest_is_written_for_installed_weights(gate: Rig) -> None:
    await gate.install("org/My.Model_7B")

    made = await gate.ask("POST", "/catalog/generate", json={"target": "org/My.Model_7B"})
    none = await gate.ask("POST", "/catalog/generate", json={"target": "org/none"})

    assert made.status_code == 200, made.text
    manifest = made.json()["manifest"]
    assert (manifest["id"], manifest["displayName"]) == ("my.model_7b", "My.Model_7B")
    assert manifest["weights"]["target"] == "org/My.Model_7B"
    assert manifest["resources"]["gpus"] == 0
    assert read_manifest(manifest).id == "my.model_7b"
    assert (none.status_code, problem(none)) == (422, "weights_not_installed")


async def test_a_manifest_is_written_for_a_repository_and_the_cards_there_are(gate: Rig) -> None:
    gate.advice.cards = [msgspec.structs.replace(CARD, nodes=("here",))]
    body = {"hfModelId": "org/big", "revision": "v1", "id": "mine"}

    made = (await gate.ask("POST", "/catalog/generate", json=body)).json()

    assert made["manifest"]["id"] == "mine"
    assert made["manifest"]["weights"]["repo"] == "org/big"
    assert made["manifest"]["weights"]["revision"] == "v1"
    assert made["manifest"]["license"] == "apache-2.0"
    assert made["manifest"]["resources"]["gpus"] == 2
    assert made["manifest"]["engine"]["tensorParallelSize"] == 2
    assert "one tensor was not read" in made["notes"]
    assert made["facts"]["context"] == 8192


async def test_a_manifest_is_written_for_one_of_the_two(gate: Rig) -> None:
    for body in ({}, {"target": "a", "hfModelId": "org/b"}):
        answer = await gate.ask("POST", "/catalog/generate", json=body)
        assert (answer.status_code, problem(answer)) == (400, "invalid")


async def test_whether_a_model_fits_is_reckoned_as_its_manifest_serves_it(gate: Rig) -> None:
    engine = {"tensorParallelSize": 2, "maxModelLen": 4096}
    body = BIG | {"engine": engine, "resources": {"gpus": 2}}
    await gate.ask("PUT", "/models/big", json=body)

    fits = await gate.ask("GET", "/models/big/compatibility?gpuType=l40s")
    unknown = await gate.ask("GET", "/models/big/compatibility?gpuType=abacus%2B")

    assert fits.json()["fit"]["verdict"] == "fits"
    [serving, _] = gate.advice.asked
    assert serving is not None
    assert (serving.gpus, serving.tensor_parallel, serving.context) == (2, 2, 4096)
    assert problem(unknown) == "not_found"
    await gate.register("small")
    absent = await gate.ask("GET", "/models/small/compatibility?gpuType=l40s")
    assert (absent.status_code, problem(absent)) == (422, "weights_not_installed")


async def test_writing_the_catalog_needs_its_scope(gate: Rig) -> None:
    reader = await gate.issue("read")

    answer = await gate.ask("PUT", "/models/small", reader, json=SMALL)

    assert (answer.status_code, problem(answer)) == (403, "forbidden_scope")
    checked = await gate.ask("POST", "/catalog/validate", reader, json={"manifest": SMALL})
    assert checked.status_code == 200
