"""Finding events by what they are about."""

from collections.abc import Sequence

import msgspec
import pytest

from projections import event_index
from projections.event_index import EventRow, Wanted
from projections.rows import Part
from projections.table import Db
from schemas.log import Stream
from schemas.message import Rejected
from schemas.token import TokenRevoked
from tests.projections.keeping import writer
from tests.projections.telling import ACTOR, JOB, OTHER_JOB, Told, at, install, job


@pytest.fixture
async def told(db: Db) -> Told:
    """Two installs in two namespaces, a token, and an event nobody knows, all of them indexed."""
    told = Told()
    install(told)
    install(told, OTHER_JOB, namespace="other")
    revoked = told(Stream("system", "token", "t1"), TokenRevoked("t1"))
    told.add(
        msgspec.structs.replace(revoked, stream=job(), types=("job.teleported",), data=b"[{}]")
    )
    await (await writer(db, event_index.projection)).advance(told.commits)
    return told


async def found(db: Db, wanted: Wanted) -> Sequence[EventRow]:
    return (await event_index.page(db, wanted, Part(100), ascending=True)).items


async def types(db: Db, wanted: Wanted) -> set[str]:
    return {row.type for row in await found(db, wanted)}


async def test_every_event_has_its_place(db: Db, told: Told) -> None:
    rows = await found(db, Wanted(None, system=True))
    assert [(row.position, row.index, row.type) for row in rows] == [
        (commit.position, index, kind)
        for commit in told.commits
        for index, kind in enumerate(commit.types)
    ]
    first = rows[0]
    assert (first.namespace, first.aggregate, first.actor) == ("default", "weights", ACTOR)
    assert (first.at, first.correlation) == (at(1), "request-1")


async def test_a_namespace_sees_its_own(db: Db, told: Told) -> None:
    assert {row.namespace for row in await found(db, Wanted("other"))} == {"other"}


async def test_what_belongs_to_no_tenant_has_to_be_asked_for(db: Db, told: Told) -> None:
    assert "token.revoked" not in await types(db, Wanted(None))
    assert "token.revoked" in await types(db, Wanted(None, system=True))


async def test_types_and_families(db: Db, told: Told) -> None:
    assert await types(db, Wanted("default", ["job.*"])) == {
        "job.requested", "job.started", "job.progress", "job.completed", "job.teleported"
    }  # fmt: skip
    both = await types(db, Wanted("default", ["job.started", "weights.installed"]))
    assert both == {"job.started", "weights.installed"}
    assert await types(db, Wanted("default", ["*"])) == await types(db, Wanted("default"))


@pytest.mark.parametrize("type", ["job.*.x", "jo*", "", ".", "a%", "'; --", "job.\0"])
def test_what_can_be_no_type_is_refused(type: str) -> None:
    with pytest.raises(Rejected) as refusal:
        Wanted(None, [type]).conditions()
    assert refusal.value.code == "invalid"


async def test_an_underscore_in_a_type_is_no_wildcard(db: Db, told: Told) -> None:
    assert await types(db, Wanted("default", ["job_started"])) == set()


async def test_positions_bound_without_being_met(db: Db, told: Told) -> None:
    rows = await found(db, Wanted("default", after=2, before=5))
    assert {row.position for row in rows} == {3, 4}
    rows = await found(db, Wanted("default", before_time=at(3)))
    assert {row.position for row in rows} == {1, 2}


async def test_one_aggregate_one_request_one_actor(db: Db, told: Told) -> None:
    about = await found(db, Wanted("default", aggregate="job", id=JOB))
    assert {row.id for row in about} == {JOB}
    assert len(await found(db, Wanted(None, correlation="request-1"))) == 1
    assert await found(db, Wanted(None, actor="nobody")) == ()
    assert await found(db, Wanted(None, actor="no\0body")) == ()


async def test_a_tail_is_the_newest_in_order(db: Db, told: Told) -> None:
    rows = await event_index.tail(db, Wanted("default", ["weights.*"]), 3)
    assert [row.type for row in rows] == ["weights.files", "weights.installed", "weights.released"]


async def test_pages_come_newest_first_and_whole(db: Db, told: Told) -> None:
    seen: list[EventRow] = []
    cursor = None
    while True:
        page = await event_index.page(db, Wanted("default"), Part(3, cursor))
        seen += page.items
        if (cursor := page.next_cursor) is None:
            break
    assert seen[::-1] == list(await found(db, Wanted("default")))
