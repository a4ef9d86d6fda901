"""What the checks of a manifest say to do, about a world that has what a test says."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from processors.inspection import Inspection
from schemas.checks import CHECKS, Capacity, Check, Holder
from schemas.facts import Facts
from schemas.manifest import EngineArguments, Manifest, Resources, WeightsSource
from schemas.manifest_reading import written
from schemas.weights import Holding
from schemas.workloads import Node
from tests.gateway.rig import gateway
from tests.gateway.worlds import CARD, FACTS, Advice

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
WANTS_TWO = Manifest("m", WeightsSource("org/m"), resources=Resources(gpus=2))


class World:
    """The `World` of an inspection that has everything, but for GPUs."""

    runtime = "process"

    def __init__(self, *holders: Holder, memory: int = 0) -> None:
        self._holders = holders
        self._memory = memory

    def memory(self) -> int:
        return self._memory

    async def storage(self, there: Holding, namespace: str) -> str:
        return "readable"

    async def secrets(self, manifest: Manifest, namespace: str) -> str:
        return "asks for none"

    async def config_maps(self, manifest: Manifest, namespace: str) -> str:
        return "asks for none"

    async def engine(self, manifest: Manifest, facts: Facts | None, namespace: str) -> str:
        return "it serves it"

    async def capacity(self, manifest: Manifest, namespace: str, slot: str) -> Capacity:
        held = [one for one in self._holders if one.slot != slot or not slot]
        free = 4 - sum(one.gpus for one in held)
        return Capacity(manifest.resources.gpus, free, 4, tuple(held))

    async def nodes(self) -> Sequence[Node]:
        return [Node("node-1", True, 4, 4, CARD.name)]


HELD = Holding("org/m", "s1", "org/m", "main", "c0ffee", "k1", 1, 1, NOON)


async def test_a_manifest_is_validated_as_it_is_weighed_against_a_card(
    nats_url: str, stream_prefix: str, tmp_path: Path
) -> None:
    async def holding(namespace: str, target: str) -> Holding | None:
        return replace(HELD, facts=FACTS)

    weights = WeightsSource(repo="org/m")
    async with gateway(nats_url, stream_prefix, tmp_path) as gate:
        inspection = Inspection(holding, gate.advice, World())
        for gpus, tensor in ((1, 1), (2, 2), (4, 1), (1, 2)):
            engine = EngineArguments(tensor_parallel_size=tensor)
            said = Manifest("m", weights, engine=engine, resources=Resources(gpus=gpus))
            await gate.ask("PUT", "/models/m", json=written(said))
            await inspection.check(said, "default")
            await gate.get("/models/m/compatibility", gpuType=CARD.type)
            validated, weighed = gate.advice.asked
            assert validated == weighed
            gate.advice.asked.clear()


async def check_of(
    name: str,
    world: World,
    held: Holding | None = HELD,
    slot: str = "",
    manifest: Manifest = WANTS_TWO,
) -> Check:
    async def holding(namespace: str, target: str) -> Holding | None:
        return held

    checks = await Inspection(holding, Advice(), world).check(manifest, "default", slot=slot)
    return next(check for check in checks if check.name == name)


async def test_every_check_there_is_has_its_place() -> None:
    async def holding(namespace: str, target: str) -> Holding | None:
        return None

    checks = await Inspection(holding, Advice(), World()).check(WANTS_TWO, "default")

    assert tuple(check.name for check in checks) == CHECKS


ALICE, BOB = Holder("alice-0", 3, "alice", "llama"), Holder("bob-0", 1, "bob", "tiny")
STRANGER = Holder("another namespace", 4)


@pytest.mark.parametrize(
    ("world", "slot", "remedy"),
    [
        (World(BOB, ALICE), "", "in alice: mllm runtime activate m --slot alice --preempt"),
        (World(BOB, STRANGER), "", "or ask for fewer in `resources.gpus`"),
        (World(STRANGER, BOB), "bob", "or ask for fewer in `resources.gpus`"),
    ],
)
async def test_taking_a_place_is_advised_only_where_it_frees_gpus_enough(
    world: World, slot: str, remedy: str
) -> None:
    check = await check_of("gpus", world, slot=slot)

    assert check.outcome == "fail"
    assert check.remedy.endswith(remedy)


@pytest.mark.parametrize(
    ("verified_at", "reason"),
    [
        (None, "1 files, hashed as they were installed, 2026-11-01 12:00 UTC"),
        (NOON + timedelta(days=30), "1 files, verified 2026-12-01 12:00 UTC"),
    ],
)
async def test_what_was_only_hashed_at_its_install_is_not_said_to_be_verified(
    verified_at: datetime | None, reason: str
) -> None:
    held = replace(HELD, verified_at=verified_at)

    assert (await check_of("weights", World(), held)).reason == reason


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        (WeightsSource(repo="o/r"), "mllm weights install o/r"),
        (WeightsSource(repo="o/r", revision="v2"), "mllm weights install o/r --revision v2"),
        (WeightsSource("mine", "o/r"), "mllm weights install o/r --target mine"),
        (WeightsSource("mine"), "mllm weights install REPO --target mine"),
    ],
)
async def test_weights_that_are_missing_are_to_be_installed_as_the_manifest_names_them(
    source: WeightsSource, remedy: str
) -> None:
    check = await check_of("weights", World(), None, manifest=Manifest("m", source))

    assert (check.outcome, check.remedy) == ("fail", remedy)


async def test_corrupted_weights_are_to_be_installed_again_at_their_own_revision() -> None:
    held = replace(HELD, revision="v2", corrupted=("a.bin",))

    check = await check_of("weights", World(), held)

    assert check.remedy == "mllm weights install org/m --revision v2 --overwrite"


async def test_all_that_is_wrong_with_the_arguments_is_told_at_once() -> None:
    engine = EngineArguments(tensor_parallel_size=3, max_model_len=9000, trust_remote_code=True)
    manifest = replace(WANTS_TWO, engine=engine)
    held = replace(HELD, facts=replace(FACTS, heads=32))

    check = await check_of("arguments", World(), held, manifest=manifest)

    assert check.outcome == "fail"
    for words in ("over 3 GPUs", "32 heads", "maxModelLen 9,000", "trustRemoteCode"):
        assert words in check.reason
    assert len(check.remedy.split("; ")) == 4


async def test_doubts_about_the_arguments_are_told_together() -> None:
    engine = EngineArguments(max_model_len=9000, trust_remote_code=True)
    held = replace(HELD, facts=replace(FACTS, format="gguf", gguf_files=("a.gguf",)))

    check = await check_of("arguments", World(), held, manifest=replace(WANTS_TWO, engine=engine))

    assert (check.outcome, check.reason.count("; ")) == ("warn", 1)


TWO_FILES = replace(
    HELD,
    facts=Facts("gguf", "llama", context=512, gguf_files=("a.gguf", "b-00001-of-00002.gguf")),
    others={"b-00001-of-00002.gguf": Facts("gguf", "qwen2", context=4096)},
)


@pytest.mark.parametrize(
    ("file", "outcome"),
    [("", "warn"), ("a.gguf", "warn"), ("b-00001-of-00002.gguf", "pass"),
     ("b-00002-of-00002.gguf", "pass")],
)  # fmt: skip
async def test_a_manifest_is_judged_by_the_gguf_file_that_it_names(file: str, outcome: str) -> None:
    engine = EngineArguments(max_model_len=1024)
    manifest = Manifest("m", WeightsSource("org/m", file=file), engine=engine)

    check = await check_of("arguments", World(), TWO_FILES, manifest=manifest)

    assert check.outcome == outcome


async def test_a_gguf_file_that_is_none_of_the_weights_is_refused_with_those_there_are() -> None:
    manifest = Manifest("m", WeightsSource("org/m", file="none.gguf"))

    check = await check_of("weights", World(), TWO_FILES, manifest=manifest)

    assert (check.outcome, check.remedy) == ("fail", "name one of: a.gguf, b-00001-of-00002.gguf")


GGUF_BESIDE_TENSORS = replace(
    HELD,
    facts=Facts("safetensors", "LlamaForCausalLM", context=512, gguf_files=("a.gguf",)),
    others={"a.gguf": Facts("gguf", "llama", context=4096)},
)


@pytest.mark.parametrize(("runtime", "engine"), [("", "llama.cpp"), ("vllm", "vLLM")])
async def test_the_files_that_the_engine_reads_are_those_that_are_judged(
    runtime: str, engine: str
) -> None:
    manifest = Manifest("m", WeightsSource("org/m"), runtime=runtime)

    check = await check_of("architecture", World(), GGUF_BESIDE_TENSORS, manifest=manifest)

    assert check.reason.startswith(engine)


async def test_on_a_cluster_gguf_is_judged_for_vllm_as_that_is_what_would_load_it() -> None:
    world = World()
    world.runtime = "kserve"

    check = await check_of("architecture", world, TWO_FILES, manifest=WANTS_TWO)

    assert (check.outcome, check.reason) == ("warn", "what vLLM makes of GGUF is experimental")


async def test_an_architecture_that_vllm_did_not_list_yet_does_not_keep_a_model_from_serving() -> (
    None
):
    held = replace(HELD, facts=FACTS)

    check = await check_of("architecture", World(), held)

    assert check.outcome == "warn"
    assert "may know it" in check.reason
    assert "--refresh, on the server's machine" in check.remedy


@pytest.mark.parametrize(("runtime", "outcome"), [("", "fail"), ("mine", "warn")])
async def test_weights_that_are_broken_fail_with_the_reason_unless_their_engine_is_not_ours(
    runtime: str, outcome: str
) -> None:
    broken = "a.gguf: not a GGUF file"
    held = replace(HELD, facts=Facts("gguf", gguf_files=("a.gguf",), broken=broken))

    manifest = Manifest("m", WeightsSource("org/m"), runtime=runtime)

    check = await check_of("weights", World(), held, manifest=manifest)

    assert check.outcome == outcome
    assert check.reason.startswith(broken)


SOLID = Facts("gguf", "llama", weight_bytes=9 << 30, layers=8, kv_heads=1, gguf_files=("a.gguf",))


@pytest.mark.parametrize(
    ("memory", "facts", "outcome", "reason"),
    [
        (0, FACTS, "pass", "no GPU is asked for"),
        (64 << 30, SOLID, "pass", "fits in this machine's memory: left for the KV cache"),
        (8 << 30, SOLID, "warn", "does not fit in this machine's memory: left for the KV cache"),
        (8 << 30, FACTS, "warn", "nothing can be said"),
    ],
)
async def test_without_gpus_a_model_is_weighed_against_the_machines_own_memory(
    memory: int, facts: Facts, outcome: str, reason: str
) -> None:
    manifest, held = Manifest("m", WeightsSource("org/m")), replace(HELD, facts=facts)

    check = await check_of("memory", World(memory=memory), held, manifest=manifest)

    assert check.outcome == outcome
    assert check.reason.startswith(reason)
