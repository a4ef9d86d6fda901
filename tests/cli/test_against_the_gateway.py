"""The same command line against the gateway itself, on real NATS and Postgres."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.job import BeginCommit, CompleteJob, ReportProgress, StartAttempt
from tests.cli.support import Outcome
from tests.gateway.rig import Rig, gateway


class Shell:
    """Runs `mllm` as a user of the gateway."""

    def __init__(self, rig: Rig, home: Path) -> None:
        self.rig = rig
        self._env: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "MLLM_SERVER": rig.url,
            "MLLM_TOKEN": rig.admin,
        }

    async def start(self, *argv: str, **env: str) -> asyncio.subprocess.Process:
        """Start it, where what was written before can be read."""
        await self.rig.settled()
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**self._env, **env},
        )  # fmt: skip

    async def __call__(self, *argv: str, stdin: str = "", **env: str) -> Outcome:
        process = await self.start(*argv, **env)
        out, err = await process.communicate(stdin.encode())
        return Outcome(process.returncode or 0, out.decode(), err.decode())

    async def json(self, *argv: str) -> Any:
        """What a verb that goes well says."""
        outcome = await self(*argv, "-o", "json")
        assert outcome.code == 0, outcome.err
        return msgspec.json.decode(outcome.out)

    async def install(self, target: str = "org/model") -> str:
        """The id of a new job."""
        return (await self("weights", "install", target, "-q")).out.strip()


@pytest.fixture
async def mllm(
    nats_url: str, stream_prefix: str, database_url: str, tmp_path: Path
) -> AsyncGenerator[Shell]:
    async with gateway(nats_url, stream_prefix, tmp_path, database_url) as rig:
        yield Shell(rig, tmp_path)


async def test_what_is_asked_for_is_listed_described_and_steered(mllm: Shell) -> None:
    job = await mllm.install()

    [row] = (await mllm.json("jobs", "list", "--status", "pending", "--target", "org/model"))[
        "items"
    ]
    assert (row["id"], row["status"]) == (job, "pending")
    assert (await mllm.json("jobs", "priority", job, "high"))["priority"] == 0
    assert (await mllm.json("jobs", "pause", job))["status"] == "paused"
    assert (await mllm.json("jobs", "resume", job))["status"] == "pending"
    assert (await mllm.json("jobs", "cancel", job, "--yes"))["status"] == "cancelled"
    described = await mllm.json("jobs", "describe", job)
    assert [event["type"] for event in described["events"]][:2] == [
        "job.requested",
        "job.priority.changed",
    ]
    assert (await mllm("jobs", "wait", job)).code == 11


async def test_a_job_is_watched_from_its_request_to_its_end(mllm: Shell) -> None:
    job = await mllm.install()
    watching = await mllm.start("jobs", "watch", job, "--progress", "json", "-q")
    assert watching.stderr is not None
    first = msgspec.json.decode(await watching.stderr.readline())

    await mllm.rig.say(StartAttempt(job, 1, "w1"))
    await mllm.rig.say(ReportProgress(job, 1, "fetch", 5050, 10_100, 1, 2))
    await mllm.rig.say(BeginCommit(job, 1, "m" * 64))
    await mllm.rig.say(CompleteJob(job, 1, 10_100, 2))
    out, err = await watching.communicate()

    told = [first, *map(msgspec.json.decode, err.splitlines())]
    assert [(one["status"], one["phase"], one["percent"]) for one in told] == [
        ("pending", "", 0),
        ("running", "", 0),
        ("running", "fetch", 50),
        ("running", "commit", 50),
        ("completed", "commit", 100),
    ]
    assert (watching.returncode, out.decode()) == (0, f"{job}\n")


async def test_the_log_of_a_job_is_followed_to_its_end(mllm: Shell) -> None:
    job = await mllm.install()
    following = await mllm.start("jobs", "logs", "-f", job, "-o", "json")
    assert following.stdout is not None

    await mllm.rig.lines.write("default", job, "resolved main")
    line = msgspec.json.decode(await following.stdout.readline())
    await mllm("jobs", "cancel", job, "--yes")

    await following.communicate()

    assert line["text"] == "resolved main"
    assert following.returncode == 0
    assert "resolved main" in (await mllm("jobs", "logs", job)).out


async def test_events_are_listed_and_tailed(mllm: Shell) -> None:
    job = await mllm.install()
    tailing = await mllm.start("events", "tail", f"job/{job}", "-o", "json")
    assert tailing.stdout is not None
    newest = msgspec.json.decode(await tailing.stdout.readline())

    await mllm("jobs", "pause", job)
    then = msgspec.json.decode(await tailing.stdout.readline())
    tailing.terminate()
    await tailing.communicate()

    assert (newest["type"], then["type"]) == ("job.requested", "job.pause.requested")
    listed = (await mllm.json("events", "list", f"job/{job}", "--limit", "1"))["items"]
    assert [event["subject"] for event in listed] == [f"job/{job}"]
    weights = (await mllm.json("events", "list", "weights/org/model"))["items"]
    assert [event["type"] for event in weights] == ["weights.reserved"]


async def test_a_watched_list_shows_what_becomes_of_a_job(mllm: Shell) -> None:
    job = await mllm.install()
    watching = await mllm.start("jobs", "list", "--watch", "-o", "json")
    assert watching.stdout is not None
    first = msgspec.json.decode(await watching.stdout.readline())

    await mllm("jobs", "pause", job)
    then = msgspec.json.decode(await watching.stdout.readline())
    watching.terminate()
    await watching.communicate()

    assert (first["status"], then["status"]) == ("pending", "paused")


async def test_tokens_are_issued_used_rotated_and_revoked(mllm: Shell) -> None:
    token = (
        await mllm("tokens", "issue", "ci", "--scope", "read", "--expires-in", "1h")
    ).out.strip()
    id = token.split("_")[1]

    assert (await mllm("jobs", "list", MLLM_TOKEN=token)).code == 0
    refused = await mllm("jobs", "pause", "01JD1111111111111111111111", MLLM_TOKEN=token)
    assert refused.code == 4
    assert "request id: " in refused.err
    rotated = (await mllm("tokens", "rotate", id)).out.strip()
    assert (await mllm("jobs", "list", MLLM_TOKEN=token)).code == 4
    assert (await mllm("jobs", "list", MLLM_TOKEN=rotated)).code == 0
    assert (await mllm("tokens", "revoke", id, "--yes")).code == 0
    assert (await mllm("jobs", "list", MLLM_TOKEN=rotated)).code == 4
    assert id in (await mllm("tokens", "list", "-q")).out.split()


async def test_secrets_go_in_and_only_names_come_out(mllm: Shell) -> None:
    assert (await mllm("secrets", "set", "hub", stdin="hf_s3cret\n")).code == 0

    assert (await mllm("secrets", "list", "-q")).out == "hub\n"
    assert await mllm.rig.secrets.get("default", "hub") == "hf_s3cret"
    assert (await mllm("secrets", "delete", "hub", "--yes")).code == 0
    assert (await mllm("secrets", "delete", "hub", "--yes")).code == 3


async def test_the_same_request_is_the_same_job_and_another_is_a_conflict(mllm: Shell) -> None:
    first = await mllm.install()

    assert await mllm.install() == first
    other = await mllm("weights", "install", "org/other", "--target", "org/model")
    assert other.code == 5


async def test_what_is_not_there_is_not_found(mllm: Shell) -> None:
    assert (await mllm("jobs", "get", "01JD1111111111111111111111")).code == 3
    assert (await mllm("jobs", "get", "no-id")).code in (1, 3)
    assert (await mllm("weights", "info", "org/none")).code == 3


async def test_status_and_doctor_find_everything_well(mllm: Shell) -> None:
    status = await mllm("status")
    doctor = await mllm("doctor", MLLM_DISK_RESERVE="0")

    assert status.code == 0, status.out
    assert "mllm 1.2.3" in status.out
    assert doctor.code == 0, doctor.out
    assert (await mllm("projections", "status")).out.startswith("NAME")
    assert (await mllm("projections", "rebuild", "jobs")).code == 0
    assert (await mllm("projections", "rebuild", "none")).code == 3
    assert (await mllm("weights", "usage")).code == 0


async def test_a_login_is_a_context_that_works(mllm: Shell) -> None:
    nothing = {"MLLM_SERVER": "", "MLLM_TOKEN": ""}

    login = await mllm("login", "--server", mllm.rig.url, stdin=mllm.rig.admin, **nothing)

    assert login.code == 0, login.err
    assert (await mllm("jobs", "list", **nothing)).code == 0
