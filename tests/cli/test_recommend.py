"""Advice from a terminal, against the gateway and the advisor themselves."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import msgspec
import pytest

from processors.advice.advisor import Advice
from processors.advice.architectures import FILE, newest
from processors.hub import Hub as Asking
from schemas.advice import Compatibility
from schemas.facts import Facts
from tests.cli.test_models import Terminal
from tests.gateway.rig import gateway
from tests.gateway.test_advice import CONFIG, TENSORS, Machines, install
from tests.hub import Hub, Repo
from tests.processors.advice.test_architectures import REGISTRY
from tests.processors.facts.headers import write_model


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("repository")
    source = write_model(root, CONFIG, TENSORS)
    with Hub(Repo("org/model", {path: root / path for path in source.files})) as made:
        yield made


@pytest.fixture
async def mllm(
    nats_url: str,
    stream_prefix: str,
    database_url: str,
    home: Path,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncGenerator[Terminal]:
    """A terminal of a gateway whose store holds org/mine, and whose nodes have an L40S."""
    advisor = Advice(Asking(hub.url, ""), home / "data", Machines())
    async with gateway(nats_url, stream_prefix, home, database_url, advisor=advisor) as rig:
        await install(rig, "org/mine", home / "files")
        await rig.get("/weights", min_sequence=await rig.log.end())
        monkeypatch.setenv("MLLM_SERVER", rig.url)
        monkeypatch.setenv("MLLM_TOKEN", rig.admin)
        monkeypatch.setenv("MLLM_DATA_DIR", str(home / "data"))
        yield Terminal(rig, capsys)


async def test_cards_are_listed_with_our_own_first(mllm: Terminal) -> None:
    titles, first, *others = (await mllm("recommend", "profiles")).out.splitlines()

    assert titles.split() == ["TYPE", "NAME", "MEMORY", "BANDWIDTH", "FOR", "MACHINES"]
    assert first.split()[0] == "l40s"
    assert first.split()[-1] == "1"
    assert len(others) > 40
    assert "gpu/h100\n" in (await mllm("recommend", "profiles", "-o", "name")).out


async def test_a_card_is_described(mllm: Terminal) -> None:
    out = (await mllm("recommend", "gpu", "NVIDIA-H100-80GB-HBM3")).out

    assert "Name:         NVIDIA H100 80GB SXM" in out
    assert "--gpu-memory-utilization" in out
    assert "bfloat16" in out


async def test_an_unknown_card_is_not_found(mllm: Terminal) -> None:
    outcome = await mllm("recommend", "gpu", "h1000")

    assert outcome.code == 3
    assert "did you mean h100?" in outcome.err


async def test_a_repository_on_a_card_shows_its_arithmetic(mllm: Terminal) -> None:
    asked = ("--gpu", "h100", "--gpus", "2", "--context-length", "4096", "--batch", "8")
    outcome = await mllm("recommend", "compatibility", "org/model", *asked)

    assert outcome.code == 0
    assert outcome.out.startswith("fits: 2 x NVIDIA H100 80GB SXM, tensor parallel 2")
    assert "2 layers x 4 KV heads x (128 + 128) x 2 bytes" in outcome.out
    assert "8 x 4,096 tokens" in outcome.out
    assert "--tensor-parallel-size" in outcome.out


async def test_installed_weights_are_not_looked_for_on_the_hub(mllm: Terminal, hub: Hub) -> None:
    before = len(hub.recording.exchanges)

    outcome = await mllm("recommend", "compatibility", "org/mine", "--gpu", "l4", "-o", "json")

    found = msgspec.json.decode(outcome.out, type=Compatibility)
    assert found.fit.weights == 2 * 4096 * 1024 * 2
    assert len(hub.recording.exchanges) == before


async def test_a_model_is_its_weights(mllm: Terminal) -> None:
    await mllm.rig.register("small", "org/mine")
    await mllm.models("small")

    outcome = await mllm("recommend", "compatibility", "small", "--gpu", "l4")

    assert outcome.code == 0, outcome.err
    assert "KV cache: 2 layers" in outcome.out


async def test_without_a_card_all_are_compared(mllm: Terminal) -> None:
    for name in ("org/mine", "org/model"):
        lines = (await mllm("recommend", "compatibility", name)).out.splitlines()
        assert lines[0].split()[:3] == ["TYPE", "VERDICT", "GPUS"]
        assert lines[1].split()[:3] == ["l40s", "fits", "1"]
        assert len(lines) > 40


async def test_what_does_not_fit_fails(mllm: Terminal) -> None:
    asked = ("--gpu", "t4", "--gpus", "1", "--context-length", "8192", "--batch", "1000")

    outcome = await mllm("recommend", "compatibility", "org/mine", *asked)

    assert outcome.code == 1
    assert outcome.out.startswith("does-not-fit: 1 x NVIDIA T4")


async def test_what_may_not_fit_fails_too(mllm: Terminal) -> None:
    await mllm.rig.install("garbage", "a.gguf", facts=Facts("gguf", weight_bytes=9))
    await mllm.rig.get("/weights", min_sequence=await mllm.rig.log.end())

    outcome = await mllm("recommend", "compatibility", "garbage", "--gpu", "l4")

    assert outcome.code == 1
    assert outcome.out.startswith("unknown: 1 x NVIDIA L4")


REFUSED = [
    (("nobody",), 3, "neither a model nor weights called nobody"),
    (("org/nobody",), 3, "no repository org/nobody"),
    (("org/model", "--revision", "none"), 3, "no such revision"),
    (("org/model", "--token-secret", "none"), 3, "none"),
    (("org/model", "--gpus", "0"), 2, "gpus is malformed"),
    (("a/b/c",), 2, ""),
    ((), 2, "MODEL is missing"),
    (("org/model", "--from", "x"), 2, "--refresh"),
]


async def test_what_can_not_be_told_is_refused(mllm: Terminal) -> None:
    for argv, code, said in REFUSED:
        outcome = await mllm("recommend", "compatibility", *argv)

        assert outcome.code == code, argv
        assert said in outcome.err


async def test_a_refreshed_registry_is_what_the_server_knows(
    mllm: Terminal, home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "registry.py"
    path.write_text(REGISTRY)

    outcome = await mllm("recommend", "compatibility", "--refresh", "--from", str(path))

    assert outcome.code == 0
    assert f"5 architectures of {path}" in outcome.err
    assert "the server" not in outcome.err
    assert (home / "data" / FILE).is_file()
    assert newest(home / "data").source == str(path)
    found = await mllm.rig.get("/vllm/model/BrandNewForCausalLM")
    assert found["source"] == str(path)


async def test_a_server_that_keeps_its_data_elsewhere_is_said_to_know_nothing_new(
    mllm: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "registry.py"
    path.write_text(REGISTRY)
    monkeypatch.setenv("MLLM_DATA_DIR", str(tmp_path / "another"))

    outcome = await mllm("recommend", "compatibility", "--refresh", "--from", str(path))

    assert "the server still goes by the list of" in outcome.err
    assert "on its machine" in outcome.err


async def test_a_registry_that_is_none_changes_nothing(mllm: Terminal, home: Path) -> None:
    path = home / "page.html"
    path.write_text("<html>")

    outcome = await mllm("recommend", "compatibility", "--refresh", "--from", str(path))

    assert outcome.code == 1
    assert "it is not Python" in outcome.err
    assert not (home / "data" / FILE).exists()
