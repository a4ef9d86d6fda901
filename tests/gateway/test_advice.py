"""Advice over HTTP, from the real advisor and a Hub that tests own."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from processors.advice.advisor import Advice
from processors.facts.reading import read_facts
from processors.hub import Hub as Asking
from schemas.facts import Facts
from schemas.job import BeginCommit, CompleteJob, FinishedFile, StartAttempt
from schemas.message import Rejected
from schemas.weights import RecordInstalled
from schemas.workloads import Node
from tests.gateway.rig import Rig, gateway, problem
from tests.hub import About, Account, Hub, Repo
from tests.processors.facts.headers import T, write_model
from tests.processors.facts.models import LLAMA_3_8B

CONFIG = {**LLAMA_3_8B, "num_hidden_layers": 2}
TENSORS = [
    T(f"model.layers.{layer}.mlp.up_proj.weight", "BF16", (4096, 1024)) for layer in range(2)
]
TOKEN = "hf_" + "t" * 34


class Machines:
    """Nodes as a test says; with a refusal, none can be seen."""

    def __init__(self) -> None:
        self.nodes = [Node("node-1", True, 8, 8, "NVIDIA-L40S", 46068 << 20)]
        self.refusal: Rejected | None = None

    async def __call__(self) -> list[Node]:
        if self.refusal is not None:
            raise self.refusal
        return self.nodes


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("repository")
    source = write_model(root, CONFIG, TENSORS)
    files = {path: root / path for path in source.files}
    repos = (
        Repo("org/model", files, About(license="mit")),
        Repo("org/private", files, About(private=True)),
        Repo("org/gated", files, About(gated="manual")),
    )
    someone = Account("someone", TOKEN, frozenset({"org/private"}))
    with Hub(*repos, accounts=[someone]) as made:
        yield made


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
async def gate(
    nats_url: str, stream_prefix: str, tmp_path: Path, hub: Hub, machines: Machines
) -> AsyncGenerator[Rig]:
    advisor = Advice(Asking(hub.url, ""), tmp_path, machines)
    async with gateway(nats_url, stream_prefix, tmp_path, advisor=advisor) as rig:
        yield rig


async def info(gate: Rig, **body: Any) -> Any:
    answer = await gate.ask("POST", "/vllm/model-info", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def install(gate: Rig, target: str, root: Path) -> None:
    """Have weights installed with the facts that their files say."""
    facts = read_facts(write_model(root, CONFIG, TENSORS))
    job = (await gate.order(target)).history[0].stream.id
    file = FinishedFile("model.safetensors", 10, "sha256", "f" * 64)
    await gate.say(StartAttempt(job, 1, "w1"))
    await gate.say(BeginCommit(job, 1, "m" * 64))
    done = RecordInstalled(target, job, "m" * 64, 10, 1, 1, (file,), (), facts)
    await gate.say(done)
    await gate.say(CompleteJob(job, 1, 10, 1))


async def test_the_cards_of_our_nodes_are_listed_first(gate: Rig) -> None:
    found = (await gate.get("/recommendations/profiles"))["items"]

    assert (found[0]["type"], found[0]["nodes"]) == ("l40s", ["node-1"])
    assert {"h100", "t4", "mi300x"} <= {gpu["type"] for gpu in found}


async def test_the_cards_are_known_when_the_nodes_are_not(gate: Rig, machines: Machines) -> None:
    machines.refusal = Rejected("cluster_unreachable", "no cluster")

    found = (await gate.get("/recommendations/profiles"))["items"]

    assert len(found) > 40
    assert not any(gpu["nodes"] for gpu in found)


async def test_a_card_is_recommended_by_any_of_its_names(gate: Rig) -> None:
    for name in ("h100", "H100", "NVIDIA-H100-80GB-HBM3", "NVIDIA H100 80GB SXM"):
        found = await gate.get(f"/recommendations/{name}")
        assert found["gpu"]["type"] == "h100"
        assert {one["stored"] for one in found["largest"]} == {"bfloat16", "fp8", "int4"}
        assert all(flag["reason"] for flag in found["flags"])
        assert found["model"] is None


async def test_every_card_is_found_by_the_name_that_it_is_shown_with(gate: Rig) -> None:
    await gate.install("tiny", facts=Facts("gguf"))
    await gate.register("tiny", "tiny")
    cards = (await gate.get("/recommendations/profiles"))["items"]
    odd = [card for card in cards if not card["name"].replace(" ", "").isalnum()]
    assert any("/" in card["name"] and "(" in card["name"] for card in odd)

    for card in odd:
        found = await gate.get(f"/recommendations/{quote(card['name'], safe='')}")
        named = await gate.get("/models/tiny/compatibility", gpuType=card["name"])
        body = {"hfModelId": "org/model", "gpuType": card["name"]}
        described = await gate.ask("POST", "/vllm/model-info", json=body)
        assert found["gpu"]["type"] == named["gpu"]["type"] == card["type"]
        assert described.json()["compatibility"][0]["gpu"]["type"] == card["type"]


async def test_an_unknown_card_is_not_found(gate: Rig) -> None:
    answer = await gate.ask("GET", "/recommendations/h1000")

    assert (answer.status_code, problem(answer)) == (404, "not_found")
    assert "h100" in answer.json()["remedy"]


async def test_installed_weights_are_weighed_by_their_facts(gate: Rig, tmp_path: Path) -> None:
    await install(gate, "org/mine", tmp_path / "files")

    found = await gate.get(
        "/recommendations/l4",
        weights="org/mine",
        gpus=1,
        context=4096,
        batch=3,
        kvCacheDtype="fp8",
    )

    fit = found["model"]["fit"]
    assert (fit["gpus"], fit["context"], fit["batch"]) == (1, 4096, 3)
    assert fit["weights"] == 2 * 4096 * 1024 * 2
    assert fit["kvToken"] == 2 * 2 * 8 * 128
    assert fit["arithmetic"]


async def test_weights_that_are_not_installed_are_not_found(gate: Rig) -> None:
    answer = await gate.ask("GET", "/recommendations/l4?weights=org/none")

    assert (answer.status_code, problem(answer)) == (404, "not_found")


async def test_weights_without_facts_fit_nobody_knows_where(gate: Rig) -> None:
    await gate.install("org/old")

    found = await gate.get("/recommendations/l4", weights="org/old")

    assert found["model"]["fit"]["verdict"] == "unknown"
    assert found["model"]["support"]["known"] is None


async def test_of_several_gguf_files_the_one_that_is_named_is_weighed(gate: Rig) -> None:
    first = Facts("gguf", "llama", weight_bytes=10, layers=1, kv_heads=1, gguf_files=("a", "b"))
    await gate.install("two", "a", facts=first, others={"b": replace(first, weight_bytes=20)})
    manifest = {"id": "two", "weights": {"target": "two", "file": "b"}}
    await gate.ask("PUT", "/models/two", json=manifest)

    for query in ({}, {"file": "a"}, {"file": "b"}):
        found = await gate.get("/recommendations/l4", weights="two", **query)
        assert found["model"]["fit"]["weights"] == (20 if query == {"file": "b"} else 10)
    model = await gate.get("/models/two/compatibility", gpuType="l4")
    assert model["fit"]["weights"] == 20
    made = await gate.ask("POST", "/catalog/generate", json={"target": "two", "file": "b"})
    assert made.json()["facts"]["weightBytes"] == 20


async def test_a_gguf_file_that_is_not_there_is_refused_with_those_that_are(gate: Rig) -> None:
    await gate.install("two", "a", facts=Facts("gguf", gguf_files=("a", "b")))
    asked: list[tuple[str, str, dict[str, str]]] = [
        ("POST", "/catalog/generate", {"target": "two", "file": "none"}),
        ("POST", "/catalog/generate", {"hfModelId": "org/model", "file": "none"}),
        ("POST", "/vllm/model-info", {"hfModelId": "org/model", "file": "none"}),
        ("GET", "/recommendations/l4?weights=two&file=none", {}),
    ]

    for method, path, body in asked:
        answer = await gate.ask(method, path, json=body or None)
        assert (answer.status_code, problem(answer)) == (422, "weights_file_missing"), path
        assert answer.json()["remedy"].endswith(("a, b", "they hold no GGUF model"))


async def test_a_repository_is_described_from_its_headers(gate: Rig, hub: Hub) -> None:
    found = await info(gate, hfModelId="org/model", gpuType="h100", gpus=2, context=2048)

    model = found["model"]
    assert model["commit"] == hub.repos["org/model"].head.sha
    assert model["license"] == "mit"
    assert model["facts"]["parameters"] == 2 * 4096 * 1024
    assert model["support"]["known"] is True
    [compatibility] = found["compatibility"]
    assert compatibility["gpu"]["type"] == "h100"
    assert compatibility["fit"]["tensorParallel"] == 2
    assert compatibility["fit"]["context"] == 2048


async def test_without_a_card_it_is_said_of_all(gate: Rig) -> None:
    found = await info(gate, hfModelId="org/model")

    assert len(found["compatibility"]) > 40


async def test_a_private_repository_takes_the_token_that_a_secret_holds(gate: Rig) -> None:
    answer = await gate.ask("POST", "/vllm/model-info", json={"hfModelId": "org/private"})
    assert (answer.status_code, problem(answer)) == (404, "not_found")
    await gate.secrets.set("default", "hub", TOKEN)

    found = await info(gate, hfModelId="org/private", tokenSecret="hub", gpuType="h100")

    assert found["model"]["facts"]["layers"] == 2
    assert TOKEN not in str(found)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"hfModelId": "org/none"}, 404, "not_found"),
        ({"hfModelId": "org/model", "revision": "none"}, 404, "not_found"),
        ({"hfModelId": "org/gated"}, 403, "gated"),
        ({"hfModelId": "org/model", "tokenSecret": "none"}, 422, "secret_not_found"),
        ({"hfModelId": "org/model", "gpuType": "h1000"}, 404, "not_found"),
        ({"hfModelId": "../x"}, 400, "invalid"),
        ({"hfModelId": "org/model", "gpus": 0}, 400, "invalid"),
        ({"hfModelId": "org/model", "dtype": "int3"}, 400, "invalid"),
        ({"hfModelId": "org/model", "unknown": 1}, 400, "invalid"),
        ({}, 400, "invalid"),
    ],
)
async def test_what_can_not_be_described_is_refused(
    gate: Rig, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await gate.ask("POST", "/vllm/model-info", json=body)

    assert (answer.status_code, problem(answer)) == (status, code)


async def test_a_hub_out_of_reach_is_said(gate: Rig, hub: Hub) -> None:
    with hub.out_of_reach():
        answer = await gate.ask("POST", "/vllm/model-info", json={"hfModelId": "org/model"})

    assert (answer.status_code, problem(answer)) == (503, "hub_unreachable")


async def test_supported_models_are_paged_by_name(gate: Rig) -> None:
    names: list[str] = []
    query: dict[str, Any] = {"limit": 100}
    while True:
        page = await gate.get("/vllm/supported-models", **query)
        names += [one["name"] for one in page["items"]]
        assert page["asOf"]
        assert page["source"]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]

    assert names == sorted(set(names))
    assert "LlamaForCausalLM" in names
    assert len(names) > 250


async def test_supported_models_are_searched_and_filtered(gate: Rig) -> None:
    found = await gate.get("/vllm/supported-models", q="qwen3", kind="embedding")
    nothing = await gate.get("/vllm/supported-models", q="nobody knows this")

    assert {one["name"] for one in found["items"]} >= {"Qwen3Model"}
    assert {one["kind"] for one in found["items"]} == {"embedding"}
    assert nothing["items"] == []


async def test_an_architecture_is_described_or_not_found(gate: Rig) -> None:
    found = await gate.get("/vllm/model/MixtralForCausalLM")
    missing = await gate.ask("GET", "/vllm/model/MixtralForCausalLn")

    assert "mistralai/Mixtral-8x7B-v0.1" in found["architecture"]["examples"]
    assert (missing.status_code, problem(missing)) == (404, "not_found")
    assert "MixtralForCausalLM" in missing.json()["remedy"]
