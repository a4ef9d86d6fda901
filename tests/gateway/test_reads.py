"""Queries: fresh enough, paged, as of a moment, and within their namespace."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from ulid import ULID

from schemas.job import FinishedFile, PauseJob, ReportProgress, StartAttempt
from schemas.live import StoreBeat
from schemas.log import Outcome
from schemas.token import RevokeToken
from tests.gateway.rig import Rig, problem

FILE = FinishedFile("model.safetensors", 10, "sha256", "f" * 64)


def job_of(outcome: Outcome) -> str:
    return outcome.history[0].stream.id


async def test_a_read_waits_for_what_was_written(house: Rig) -> None:
    for number in range(10):
        body = {"hfModelId": f"org/model{number}"}
        accepted = (await house.ask("POST", "/weights/install", json=body)).json()

        row = await house.get(accepted["jobUrl"], min_sequence=accepted["sequence"])

        assert row == accepted["job"]


async def test_a_header_asks_for_freshness_too(house: Rig) -> None:
    outcome = await house.order("org/model")
    headers = {"X-Min-Sequence": str(outcome.position)}

    answer = await house.ask("GET", f"/jobs/{job_of(outcome)}", headers=headers)

    assert answer.status_code == 200


async def test_a_read_beyond_the_log_is_refused_at_once(house: Rig) -> None:
    end = await house.log.end()

    answer = await house.ask("GET", f"/jobs?min_sequence={end + 1}")

    assert (answer.status_code, problem(answer)) == (422, "sequence_beyond_log")
    assert answer.json()["details"] == {"end": end}


async def test_a_read_model_that_stands_still_is_said_to_be_behind(late: Rig) -> None:
    outcome = await late.order("org/model")

    answer = await late.ask("GET", f"/jobs?min_sequence={outcome.position}")

    assert (answer.status_code, problem(answer)) == (503, "read_model_behind")
    assert answer.headers["retry-after"]


async def test_jobs_are_paged_newest_first(house: Rig) -> None:
    jobs = [job_of(await house.order(f"org/model{number}")) for number in range(5)]
    end = await house.log.end()

    found: list[str] = []
    query: dict[str, Any] = {"limit": 2, "min_sequence": end}
    while True:
        page = await house.get("/jobs", **query)
        found += [row["id"] for row in page["items"]]
        if page["nextCursor"] is None:
            break
        query["cursor"] = page["nextCursor"]

    assert found == jobs[::-1]


async def test_a_cursor_of_another_list_is_refused(house: Rig) -> None:
    for cursor in ("AAAA", "W10", "nonsense.", "WzEsMl0"):
        answer = await house.ask("GET", f"/jobs?cursor={cursor}")
        assert (answer.status_code, problem(answer)) == (400, "invalid_cursor")


async def test_jobs_are_chosen_by_status_type_model_and_target(house: Rig) -> None:
    one, two = [await house.order(f"org/{name}") for name in ("one", "two")]
    paused = await house.say(PauseJob(job_of(two)))

    async def ids(**query: str) -> list[str]:
        page = await house.get("/jobs", min_sequence=paused.position, **query)
        return [row["id"] for row in page["items"]]

    assert await ids(status="paused") == [job_of(two)]
    assert await ids(status="pending") == [job_of(one)]
    assert await ids(type="verify") == []
    assert await ids(model="org/one") == [job_of(one)]
    assert await ids(target="org/two") == [job_of(two)]
    both = await house.ask("GET", "/jobs?status=paused&status=pending")
    assert len(both.json()["items"]) == 2


async def test_a_namespace_sees_its_own_and_a_star_sees_all(house: Rig) -> None:
    await house.order("org/model")
    other = await house.order("org/model", "tenant")
    fresh = f"min_sequence={other.position}"
    tenant = await house.issue("read", namespaces=("tenant",))

    mine = await house.ask("GET", f"/jobs?namespace=tenant&{fresh}", tenant)
    every = await house.ask("GET", f"/jobs?namespace=*&{fresh}")
    not_mine = await house.ask("GET", f"/jobs/{job_of(other)}?{fresh}")

    assert [row["namespace"] for row in mine.json()["items"]] == ["tenant"]
    assert {row["namespace"] for row in every.json()["items"]} == {"default", "tenant"}
    assert (not_mine.status_code, problem(not_mine)) == (404, "not_found")


async def test_how_things_stood_is_asked_by_position_and_by_time(house: Rig) -> None:
    asked = await house.order("org/model")
    job = job_of(asked)
    await asyncio.sleep(0.01)
    between = datetime.now(UTC)
    await asyncio.sleep(0.01)
    paused = await house.say(PauseJob(job))
    before = (between - timedelta(hours=1)).isoformat()

    async def status(as_of: str | int) -> str:
        found: str = (await house.get(f"/jobs/{job}", as_of=as_of))["status"]
        return found

    assert await status(f"seq:{asked.position}") == "pending"
    assert await status(asked.position) == "pending"
    assert await status(paused.position) == "paused"
    assert await status(between.isoformat()) == "pending"
    assert await status(datetime.now(UTC).isoformat().replace("+00:00", "Z")) == "paused"
    assert (await house.ask("GET", f"/jobs/{job}", params={"as_of": before})).status_code == 404
    then = await house.get("/jobs", as_of=f"seq:{asked.position}")
    assert [row["status"] for row in then["items"]] == ["pending"]
    assert (await house.get("/jobs", as_of="seq:0"))["items"] == []


async def test_weights_are_listed_once_they_are_installed(house: Rig) -> None:
    coming = await house.order("org/coming")
    done = await house.install("org/done")

    page = await house.get("/weights", min_sequence=done.position)
    info = await house.get("/weights/info", name="org/done")

    assert [row["name"] for row in page["items"]] == ["org/done"]
    assert info["weights"]["manifest"] == "m" * 64
    assert [file["path"] for file in info["files"]] == ["model.safetensors"]
    assert info["storageUri"] == "pvc://default/default/org/done"
    assert info["inferenceModelPath"] == "default/org/done"
    none = await house.get("/weights", as_of=f"seq:{coming.position}")
    assert none["items"] == []
    assert problem(await house.ask("GET", "/weights/info?name=org/nothing")) == "not_found"
    status = await house.get(f"/weights/install/status/{job_of(coming)}")
    assert status["target"] == "org/coming"


async def test_files_are_shown_only_of_what_they_belong_to(house: Rig) -> None:
    first = await house.install("org/done")
    replaced = await house.install("org/done", "other.safetensors", overwrite=True)

    now = await house.get("/weights/info", name="org/done", min_sequence=replaced.position)
    then = await house.get("/weights/info", name="org/done", as_of=f"seq:{first.position}")

    assert [file["path"] for file in now["files"]] == ["other.safetensors"]
    assert (then["weights"]["manifest"], then["files"]) == ("m" * 64, [])


async def test_usage_knows_what_is_stored_and_how_much_room_is_left(house: Rig) -> None:
    done = await house.install("org/done")
    now = datetime.now(UTC)
    await house.live.say_store(StoreBeat("default", "w1", now, 50, 100, 5))
    await house.live.say_store(StoreBeat("empty", "w2", now, 60, 100, 5))

    usage = await house.get("/weights/usage", min_sequence=done.position)

    stores = {store["store"]: store for store in usage["stores"]}
    assert (stores["default"]["weights"], stores["default"]["free"]) == (1, 50)
    assert (stores["empty"]["weights"], stores["empty"]["free"]) == (0, 60)
    assert [row["name"] for row in usage["weights"]] == ["org/done"]


async def test_the_files_of_a_job_are_listed_as_they_are_finished(house: Rig) -> None:
    job = job_of(await house.order("org/model"))
    await house.say(StartAttempt(job, 1, "w1"))
    done = await house.say(ReportProgress(job, 1, "fetch", 10, 10, 1, 1, (FILE,)))

    page = await house.get(f"/jobs/{job}/files", min_sequence=done.position)

    assert [(row["path"], row["size"]) for row in page["items"]] == [("model.safetensors", 10)]
    assert (await house.ask("GET", f"/jobs/{ULID()}/files")).status_code == 404


async def test_an_administrator_sees_the_tokens_of_their_namespaces(house: Rig) -> None:
    narrow = await house.issue("admin", namespaces=("default",))
    await house.issue("read", namespaces=("default",))
    await house.issue("read", namespaces=("default", "other"))
    end = await house.log.end()

    every = await house.get("/tokens", min_sequence=end)
    some = await house.ask("GET", "/tokens", narrow)

    assert len(every["items"]) == 4
    assert len(some.json()["items"]) == 2
    assert "hash" not in str(every)


async def test_pages_of_tokens_are_full_whoever_asks(house: Rig) -> None:
    narrow = await house.issue("admin", namespaces=("tenant", "default"))
    for namespaces in (("tenant",), ("*",), ("default", "tenant"), ("default", "other")):
        await house.issue("read", namespaces=namespaces)
    end = await house.log.end()

    pages = [await house.ask("GET", f"/tokens?limit=2&min_sequence={end}", narrow)]
    while cursor := pages[-1].json()["nextCursor"]:
        pages.append(await house.ask("GET", f"/tokens?limit=2&cursor={cursor}", narrow))

    found = [[sorted(row["namespaces"]) for row in page.json()["items"]] for page in pages]
    assert found == [[["default", "tenant"], ["tenant"]], [["default", "tenant"]]]


async def test_the_summary_and_the_projections_are_told(house: Rig) -> None:
    done = await house.install("org/done")

    summary = await house.get("/system/summary", min_sequence=done.position)
    projections = await house.get("/projections")

    assert summary["jobs"] == {"completed": 1}
    assert (summary["weights"], summary["weightsBytes"]) == (1, 10)
    assert {"job.requested", "weights.installed"} <= {day["type"] for day in summary["days"]}
    assert {"jobs", "weights", "event_index"} <= {one["name"] for one in projections["items"]}


async def test_a_projection_is_rebuilt_on_request(house: Rig) -> None:
    answer = await house.ask("POST", "/projections/jobs/rebuild")
    unknown = await house.ask("POST", "/projections/nothing/rebuild")

    assert answer.status_code == 202
    assert answer.json()["name"] == "jobs"
    assert problem(unknown) == "not_found"


async def test_the_log_is_paged_and_filtered(house: Rig) -> None:
    job = job_of(await house.order("org/model"))
    await house.say(StartAttempt(job, 1, "w1"))
    await house.say(PauseJob(job))
    await house.say(RevokeToken((await house.issue("read")).split("_")[1]), "system")
    end = await house.log.end()

    async def types(**query: Any) -> list[str]:
        page = await house.get("/events/log", min_sequence=end, **query)
        return [event["type"] for event in page["items"]]

    mine = ["job.requested", "job.started", "job.pause.requested"]
    assert await types(aggregate="job", id=job) == mine
    assert await types(aggregate="job", id=job, order="desc") == mine[::-1]
    assert await types(type="job.*,weights.reserved") == ["weights.reserved", *mine]
    assert await types(type="job.started", limit=1) == ["job.started"]
    assert "token.revoked" in await types(namespace="*")
    assert "token.revoked" not in await types()
    assert await types(before_time="2020-01-01T00:00Z") == []
    everyone = await house.issue("read", namespaces=("*",))
    page = await house.ask("GET", "/events/log?namespace=*", everyone)
    assert "token.issued" not in page.text


async def test_the_log_goes_on_from_a_position_or_an_event(house: Rig) -> None:
    job = job_of(await house.order("org/model"))
    await house.say(StartAttempt(job, 1, "w1"))
    end = await house.log.end()
    whole = (await house.get("/events/log", min_sequence=end))["items"]

    for index, event in enumerate(whole):
        rest = (await house.get("/events/log", after=event["id"]))["items"]
        assert rest == whole[index + 1 :]
    first = await house.get("/events/log", limit=1)
    second = await house.get("/events/log", limit=1, cursor=first["nextCursor"])
    assert first["items"] + second["items"] == whole[:2]


async def test_the_log_comes_as_lines_to_whoever_asks_for_them(house: Rig) -> None:
    await house.order("org/model")
    end = await house.log.end()
    headers = {"Accept": "application/x-ndjson"}

    answer = await house.ask("GET", f"/events/log?limit=1&min_sequence={end}", headers=headers)

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.count("\n") == 1
    assert answer.headers["x-next-cursor"]
