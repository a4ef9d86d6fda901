"""Lists a page at a time."""

from base64 import urlsafe_b64encode

import msgspec
import pytest

from projections import jobs, tokens, weights
from projections.rows import Part
from projections.table import Db
from schemas.api.jobs import JobRow
from schemas.log import Stream
from schemas.message import Rejected
from schemas.token import TokenIssued, TokenRevoked, TokenRotated
from tests.projections.keeping import write, writer
from tests.projections.telling import JOB, TARGET, Told, at, install, job, requested

EVERYTHING = jobs.Wanted(None)


async def test_pages_are_complete_and_without_duplicates_while_rows_come(db: Db) -> None:
    told = Told()
    live = await writer(db, jobs.projection)

    async def request(number: int) -> None:
        await live.advance([told(job(f"{number:026}"), requested(f"{number:026}"))])

    for number in range(10):
        await request(number)
    seen: list[JobRow] = []
    page = await jobs.page(db, EVERYTHING, Part(3))
    while page.next_cursor is not None:
        seen += page.items
        await request(len(told.commits))
        page = await jobs.page(db, EVERYTHING, Part(3, page.next_cursor))
    seen += page.items

    assert [int(row.id) for row in seen] == list(range(9, -1, -1))


async def test_rows_of_the_same_moment_are_told_apart(db: Db) -> None:
    told = Told()
    first = told(job(), requested())
    for namespace in ("a", "b", "c"):
        told.add(msgspec.structs.replace(first, stream=job(JOB, namespace)))
    await (await writer(db, jobs.projection)).advance(told.commits)
    newest = await jobs.page(db, EVERYTHING, Part(2))
    rest = await jobs.page(db, EVERYTHING, Part(2, newest.next_cursor))
    namespaces = [row.namespace for row in (*newest.items, *rest.items)]
    assert namespaces == ["default", "c", "b", "a"]


async def test_a_page_that_holds_all_there_is_is_the_last(db: Db) -> None:
    told = Told()
    install(told)
    await write(db, told.commits)
    page = await jobs.page(db, EVERYTHING, Part(1))
    assert (len(page.items), page.next_cursor) == (1, None)


GARBAGE = (
    "",
    "!",
    "\0",
    "é",
    "garbage",
    "x" * 5000,
    *(
        urlsafe_b64encode(text).decode()
        for text in (
            b"null",
            b"[]",
            b'["2026-11-01T12:00:00Z","default"]',
            b'["yesterday","default","x"]',
            b'["2026-11-01T12:00:00Z","default",1]',
            b'["2026-11-01T12:00:00Z","default","\\u0000"]',
            b'["2026-11-01T12:00:00Z","default","x","y"]',
            b"\xff\xfe",
        )
    ),
)


async def test_a_cursor_that_is_none_is_refused(db: Db) -> None:
    for cursor in GARBAGE:
        with pytest.raises(Rejected) as refusal:
            await jobs.page(db, EVERYTHING, Part(cursor=cursor))
        assert refusal.value.code == "invalid_cursor"


async def test_jobs_are_found_by_what_they_are(db: Db) -> None:
    told = Told()
    install(told)
    told(job("A" * 26, "other"), requested("A" * 26))
    await write(db, told.commits)

    async def ids(wanted: jobs.Wanted) -> list[str]:
        return [row.id for row in (await jobs.page(db, wanted, Part())).items]

    assert await ids(EVERYTHING) == ["A" * 26, JOB]
    assert await ids(jobs.Wanted("default")) == [JOB]
    assert await ids(jobs.Wanted(None, ["pending", "failed"])) == ["A" * 26]
    assert await ids(jobs.Wanted(None, model="org/model", type="install")) == ["A" * 26, JOB]
    assert await ids(jobs.Wanted(None, model="org/model\0")) == []
    assert await ids(jobs.Wanted(None, target="other")) == []
    assert await jobs.unfinished(db) == [("other", "A" * 26)]
    assert await jobs.counts(db, None) == {"completed": 1, "pending": 1}
    assert await jobs.counts(db, "default") == {"completed": 1}
    assert await jobs.get(db, "other", JOB) is None


async def test_weights_are_listed_by_name_once_they_are_installed(db: Db) -> None:
    told = Told()
    install(told, target="b")
    install(told, "A" * 26, target="a")
    install(told, "B" * 26, target="c")
    started = told.commits[:-2]  # the last install has not ended
    await write(db, started)

    page = await weights.page(db, weights.Wanted("default"), Part())
    assert [row.name for row in page.items] == ["a", "b"]
    all_of_them = await weights.page(db, weights.Wanted("default", unfinished=True), Part())
    assert [row.name for row in all_of_them.items] == ["a", "b", "c"]
    coming = await weights.get(db, "default", "c")
    assert coming is not None
    assert coming.status == "installing"
    assert [(u.store, u.installed, u.weights) for u in await weights.usage(db, None)] == [
        ("default", 60, 2)
    ]
    assert await weights.usage(db, "other") == ()
    assert await weights.get(db, "default", TARGET) is None


async def test_tokens_show_what_became_of_them_and_nothing_secret(db: Db) -> None:
    told = Told()
    for id in ("t1", "t2"):
        stream = Stream("system", "token", id)
        told(stream, TokenIssued(id, "ci", "hash", ("read",), ("default",), at(100)))
    told(Stream("system", "token", "t1"), TokenRotated("t1", "hash", at(200)))
    told(Stream("system", "token", "t1"), TokenRevoked("t1"))
    await write(db, told.commits)

    page = await tokens.page(db, None, Part())
    assert [row.id for row in page.items] == ["t2", "t1"]
    revoked = await tokens.get(db, "t1")
    assert revoked is not None
    assert (revoked.status, revoked.rotated_at, revoked.revoked_at) == ("revoked", at(3), at(4))
    assert (revoked.scopes, revoked.expires_at) == (("read",), at(200))
    cursor = await db.execute("SELECT tokens::text FROM tokens")
    assert not any("hash" in text for (text,) in await cursor.fetchall())
