"""Planning against a Hub: what is refused before anything is promised."""

from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from processors.hub import Hub as HubClient
from processors.planner import HubPlanner, room
from processors.secrets import FileSecrets
from schemas.disk import Disk, refuse_full
from schemas.live import StoreBeat
from schemas.message import Rejected
from schemas.plan import Plan, Wanted
from tests.hub import About, Account, Hub, Repo
from tests.hub.faults import EVIL_NAMES
from tests.support import PATIENCE

NOW = datetime.now(UTC)


class Stores:
    """Only the part of the live state that a plan needs."""

    def __init__(self, *beats: StoreBeat) -> None:
        self.beats = beats

    async def stores(self) -> Sequence[StoreBeat]:
        return self.beats


def beat(store: str = "default", free: int = 10_000, reserve: int = 1_000) -> StoreBeat:
    return StoreBeat(store, "w", datetime.now(UTC), free, 100_000, reserve)


@pytest.fixture
def hub() -> Generator[Hub]:
    open_repo = Repo("org/open", {"config.json": b"{}", "model.safetensors": b"w" * 500})
    gated = Repo("org/gated", {"a.json": b"{}"}, About(gated="manual", license="other"))
    private = Repo("org/private", {"a.json": b"{}"}, About(private=True))
    account = Account("me", "hf_right", frozenset({"org/gated", "org/private"}))
    with Hub(open_repo, gated, private, accounts=[account]) as made:
        yield made


@pytest.fixture
def secrets(tmp_path: Path) -> FileSecrets:
    return FileSecrets(tmp_path)


async def plan(hub: Hub, secrets: FileSecrets, wanted: Wanted, *beats: StoreBeat) -> Plan:
    client = HubClient(hub.url, "", patience=PATIENCE)
    planner = HubPlanner(client, Stores(*beats), secrets, "default")
    return await planner.plan(wanted, "default")


async def refusal(hub: Hub, secrets: FileSecrets, wanted: Wanted, *beats: StoreBeat) -> Rejected:
    with pytest.raises(Rejected) as caught:
        await plan(hub, secrets, wanted, *beats)
    return caught.value


async def test_a_plan_says_what_would_come_and_what_would_stay_free(
    hub: Hub, secrets: FileSecrets
) -> None:
    made = await plan(hub, secrets, Wanted("org/open"), beat())

    assert [file.path for file in made.files] == ["config.json", "model.safetensors"]
    assert (made.bytes, made.target, made.store) == (502, "org/open", "default")
    assert made.disk == Disk(10_000, 1_000, 9_498)
    assert len(made.commit) == 40


async def test_the_same_content_has_the_same_key_and_other_content_another(
    hub: Hub, secrets: FileSecrets
) -> None:
    first = await plan(hub, secrets, Wanted("org/open"))
    again = await plan(hub, secrets, Wanted("org/open", target="elsewhere"))
    part = await plan(hub, secrets, Wanted("org/open", include=("*.json",)))
    hub.repos["org/open"].push({"config.json": b"[]"})
    moved = await plan(hub, secrets, Wanted("org/open"))

    assert first.key == again.key
    assert len({first.key, part.key, moved.key}) == 3


async def test_an_unknown_repository_is_not_found(hub: Hub, secrets: FileSecrets) -> None:
    assert (await refusal(hub, secrets, Wanted("org/nothing"))).code == "not_found"


async def test_an_unknown_revision_is_not_found(hub: Hub, secrets: FileSecrets) -> None:
    found = await refusal(hub, secrets, Wanted("org/open", revision="v9"))

    assert found.code == "not_found"


async def test_a_private_repository_looks_unknown_and_the_remedy_names_the_token(
    hub: Hub, secrets: FileSecrets
) -> None:
    found = await refusal(hub, secrets, Wanted("org/private"))

    assert found.code == "not_found"
    assert "--token-secret" in str(found.details["remedy"])


async def test_a_gated_repository_is_refused_with_its_licence_page(
    hub: Hub, secrets: FileSecrets
) -> None:
    found = await refusal(hub, secrets, Wanted("org/gated"))

    assert found.code == "gated"
    assert found.details["url"] == f"{hub.url}/org/gated"


async def test_a_token_by_secret_name_opens_what_is_gated_and_private(
    hub: Hub, secrets: FileSecrets
) -> None:
    await secrets.set("default", "hub", "hf_right")

    for repo in ("org/gated", "org/private"):
        assert (await plan(hub, secrets, Wanted(repo, token_secret="hub"))).files


async def test_a_secret_that_is_not_there_is_named(hub: Hub, secrets: FileSecrets) -> None:
    found = await refusal(hub, secrets, Wanted("org/open", token_secret="nope"))

    assert found.code == "secret_not_found"


async def test_a_hub_out_of_reach_is_said_so(hub: Hub, secrets: FileSecrets) -> None:
    with hub.out_of_reach():
        found = await refusal(hub, secrets, Wanted("org/open"))

    assert found.code == "hub_unreachable"


@pytest.mark.parametrize("name", EVIL_NAMES)
async def test_a_repository_with_an_unsafe_name_is_refused(
    hub: Hub, secrets: FileSecrets, name: str
) -> None:
    hub.repos["org/evil"] = Repo("org/evil", {"ok.json": b"{}", name: b"x"})

    assert (await refusal(hub, secrets, Wanted("org/evil"))).code == "unsafe_path"


async def test_globs_that_choose_nothing_are_refused(hub: Hub, secrets: FileSecrets) -> None:
    found = await refusal(hub, secrets, Wanted("org/open", include=("*.gguf",)))

    assert found.code == "nothing_to_install"


async def test_too_little_room_is_refused_with_the_figures(hub: Hub, secrets: FileSecrets) -> None:
    made = await plan(hub, secrets, Wanted("org/open"), beat(free=1_400))

    with pytest.raises(Rejected) as caught:
        refuse_full(made.store, made.disk)

    assert caught.value.code == "no_space"
    assert (caught.value.details["needed"], caught.value.details["free"]) == (502, 1_400)


async def test_a_store_that_nobody_mounts_is_unknown(hub: Hub, secrets: FileSecrets) -> None:
    found = await refusal(hub, secrets, Wanted("org/open", store="fast"), beat("default"))

    assert found.code == "unknown_store"


def test_without_a_fresh_word_from_any_worker_room_is_not_known() -> None:
    stale = StoreBeat("default", "w", NOW - timedelta(minutes=5), 1, 1, 1)

    assert room("default", [stale], 100) is None
