"""The Hub's metadata, or in what way it is not to be had."""

from collections.abc import Iterator

import pytest

from processors.hub import Hub as Asking
from schemas.message import Rejected
from tests.hub import FACTS, Cut, Drop, Garble, Hub, RedirectLoop, Refuse, Repo, Truncate
from tests.hub.arming import Fault
from tests.support import PATIENCE

FILES = {"config.json": b"{}", "model.safetensors": b"x" * 1000}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(Repo("org/model", FILES)) as made:
        yield made


async def test_a_repository_is_listed_at_one_commit(hub: Hub) -> None:
    listing = await Asking(hub.url, "", patience=PATIENCE).list("org/model", "main", "")

    assert listing.commit == hub.repos["org/model"].head.sha
    assert {file.path: file.size for file in listing.files} == {
        "config.json": 2,
        "model.safetensors": 1000,
    }


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Garble(kinds={"info"}), "does not answer as a Hub does"),
        (Garble(kinds={"tree"}), "does not answer as a Hub does"),
        (Truncate(kinds={"info"}), "does not answer as a Hub does"),
        (Truncate(kinds={"tree"}), "does not answer as a Hub does"),
        (Cut(kinds=FACTS, after=(1, 10)), "does not answer"),
        (Drop(kinds=FACTS), "does not answer"),
        (RedirectLoop(kinds={"info"}), "does not answer"),
        (Refuse(kinds=FACTS, status=500), "does not answer"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else "",
)
async def test_a_hub_that_makes_no_sense_is_out_of_reach(hub: Hub, fault: Fault, why: str) -> None:
    armed = hub.faults.add(fault)

    with pytest.raises(Rejected, match=why) as refused:
        await Asking(hub.url, "", patience=PATIENCE).list("org/model", "main", "")

    armed.disarm()
    assert refused.value.code == "hub_unreachable"
