"""Facts of repositories on the Hub: by headers alone, as whoever may see them."""

import asyncio
from collections.abc import Iterator

import pytest

from processors.facts import remote
from processors.facts.reading import read_facts
from processors.facts.remote import HubFiles, facts_of
from processors.fetch.errors import Halted, HubUnreachable
from processors.fetch.limits import Limits
from processors.fetch.source import Source
from processors.hub import Hub as Asking
from schemas.message import Rejected
from tests.hub import About, Account, Hub, IgnoreRange, Refuse, Repo, Stall
from tests.processors.facts.headers import T, gguf_header, write_model
from tests.processors.facts.models import LLAMA_3_8B, QWEN_VALUES, qwen_q4_k_m
from tests.support import PATIENCE, eventually

TINY = {**LLAMA_3_8B, "num_hidden_layers": 2}
TENSORS = [
    T(f"model.layers.{layer}.mlp.up_proj.weight", "BF16", (1024, 1024)) for layer in range(8)
]
TOKEN = "hf_" + "t" * 34


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    root = tmp_path_factory.mktemp("repository")
    source = write_model(root, TINY, TENSORS, shards=4)
    files = {path: root / path for path in source.files}
    header, _ = gguf_header(QWEN_VALUES, qwen_q4_k_m())
    repos = (
        Repo("org/model", files, About(license="mit")),
        Repo("org/gated", files, About(gated="manual")),
        Repo("org/gguf", {"m.gguf": header}),
    )
    with Hub(*repos, accounts=[Account("someone", TOKEN, frozenset({"org/gated"}))]) as made:
        yield made


def asking(hub: Hub, token: str = "") -> Asking:
    return Asking(hub.url, token, patience=PATIENCE)


async def test_the_headers_are_read_and_nothing_else(hub: Hub) -> None:
    before = hub.recording.sent()

    found = await facts_of(asking(hub), "org/model", "main")

    assert found.facts.parameters == 8 * 1024 * 1024
    assert found.facts.layers == 2
    assert found.facts.notes == ()
    assert found.listing.license == "mit"
    assert hub.recording.sent() - before < found.facts.weight_bytes / 4


async def test_a_gguf_file_that_ends_too_soon_is_noted(hub: Hub) -> None:
    found = await facts_of(asking(hub), "org/gguf", "main")

    assert found.facts.notes == ("m.gguf: shorter than its tensors",)


async def test_what_is_not_there_is_not_found(hub: Hub) -> None:
    for repo, revision in (("org/none", "main"), ("org/model", "none")):
        with pytest.raises(Rejected) as refused:
            await facts_of(asking(hub), repo, revision)
        assert refused.value.code == "not_found"


async def test_gated_files_are_for_those_who_have_accepted(hub: Hub) -> None:
    with pytest.raises(Rejected) as refused:
        await facts_of(asking(hub), "org/gated", "main")
    assert refused.value.code == "gated"

    found = await facts_of(asking(hub), "org/gated", "main", TOKEN)

    assert found.facts.parameters == 8 * 1024 * 1024


async def test_a_server_that_gives_no_parts_is_read_from_the_beginning(hub: Hub) -> None:
    armed = hub.faults.add(IgnoreRange(times=None))

    found = await facts_of(asking(hub), "org/model", "main")

    armed.disarm()
    assert found.facts.parameters == 8 * 1024 * 1024


async def test_a_passing_trouble_is_waited_out(hub: Hub) -> None:
    armed = hub.faults.add(Refuse(path="*.safetensors", status=503, times=2))

    found = await facts_of(asking(hub), "org/model", "main")

    armed.disarm()
    assert found.facts.parameters == 8 * 1024 * 1024


async def test_a_hub_that_goes_away_between_listing_and_reading_is_out_of_reach(hub: Hub) -> None:
    armed = hub.faults.add(Refuse(path="*.safetensors", status=500, times=None))

    with pytest.raises(Rejected) as refused:
        await facts_of(asking(hub), "org/model", "main")

    armed.disarm()
    assert refused.value.code == "hub_unreachable"


async def test_who_reads_from_a_hub_that_has_stalled_can_be_stopped(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", Limits(stall=600))
    armed = hub.faults.add(Stall(path="*.safetensors"))
    listing = await asking(hub).list("org/model", "main", "")
    files = HubFiles(Source(hub.url, "org/model", listing.commit), listing.files)
    reading = asyncio.create_task(asyncio.to_thread(read_facts, files))

    async def stalled() -> bool:
        return armed.strikes > 0

    await eventually(stalled)
    files.stop()

    async with asyncio.timeout(PATIENCE):
        with pytest.raises((Halted, HubUnreachable)):
            await reading
    files.close()
    armed.disarm()
