"""What must be true of an installation in which nothing is going on any more.

The log is the measure: it has to be whole, and the disk, the queue and the read models have to
agree with it.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import nats
import psycopg
from nats.aio.client import Client

from cli.streams import Names, names
from commands import job as jobs
from commands.jetstream import JetStreamLog
from processors.fetch import manifest
from processors.fetch.layout import RESERVED, manifest_path
from projections.catalog import PROJECTIONS
from projections.table import Db
from schemas.job import DeleteSpec, InstallSpec, Job
from schemas.log import AnyEvent, Commit, broken_link
from schemas.weights import WeightsDeleted, WeightsInstalled, WeightsReleased, WeightsReserved
from tests.projections.keeping import assert_equal_to_a_fold, position
from tests.support import eventually
from tests.system import System

PATIENCE = 90.0
"""Far longer than an event waits that a dispatcher took with it when it died."""

AT_ONCE = 500

Place: TypeAlias = tuple[str, str]
"""A namespace and a target in it."""


@dataclass(frozen=True)
class Told:
    """The whole log, and what it says."""

    commits: Sequence[Commit]

    @cached_property
    def jobs(self) -> Mapping[str, Job]:
        found: defaultdict[str, list[Commit]] = defaultdict(list)
        for commit in self.commits:
            if commit.stream.aggregate == jobs.decider.aggregate:
                found[commit.stream.id].append(commit)
        return {id: jobs.decider.state(history) for id, history in found.items()}

    @cached_property
    def installed(self) -> Mapping[Place, str]:
        """The sha256 of the manifest in each target that holds weights."""
        held: dict[Place, str] = {}
        for namespace, event in self.events:
            match event:
                case WeightsInstalled(target=target, manifest=sha256):
                    held[namespace, target] = sha256
                case WeightsDeleted(target=target):
                    del held[namespace, target]
                case _:
                    pass
        return held

    @cached_property
    def claims(self) -> Mapping[Place, str]:
        """The jobs that targets are reserved for."""
        held: dict[Place, str] = {}
        for namespace, event in self.events:
            match event:
                case WeightsReserved(target=target, job=job):
                    held[namespace, target] = job
                case WeightsReleased(target=target):
                    del held[namespace, target]
                case _:
                    pass
        return held

    @property
    def events(self) -> Iterable[tuple[str, AnyEvent]]:
        """Every event, with its namespace."""
        return (
            (commit.stream.namespace, event) for commit in self.commits for event in commit.events
        )

    def count(self, kind: type[WeightsInstalled] | type[WeightsDeleted]) -> Counter[str]:
        """How often each job is said to have brought, or removed, weights."""
        return Counter(event.job for _, event in self.events if isinstance(event, kind))


async def assert_sound(mllm: System) -> Told:
    """Wait until the installation is at rest, and check all of it."""
    called = names(mllm.env["MLLM_STREAM_PREFIX"])
    async with await nats.connect(mllm.env["MLLM_NATS_URL"]) as client:
        deadline = time.monotonic() + PATIENCE
        while unrest := await restless(mllm, client, called):
            assert time.monotonic() < deadline, "\n".join(unrest)
            await asyncio.sleep(0.3)
        told = await read(client, called)
    assert broken_link(told.commits) is None
    assert_jobs_did_what_they_say(told)
    assert on_disk(mllm.weights) == told.installed
    await assert_read_models_equal_the_log(mllm, told)
    return told


async def restless(mllm: System, client: Client, called: Names) -> Sequence[str]:
    """What is still going on, or was left lying about."""
    told = await read(client, called)
    queue = await client.jetstream().stream_info(called.work.stream, ">")
    staged = (mllm.weights / RESERVED / "staging").glob("*/*")
    return [
        *(f"job {id} is {job.status}" for id, job in told.jobs.items() if not job.ended),
        *(f"{target} is claimed for {job}" for (_, target), job in told.claims.items()),
        *(f"{subject} is queued" for subject in queue.state.subjects or ()),
        *(f"{path.name} is staged" for path in staged if not _kept(told.jobs[path.name])),
    ]


def _kept(job: Job) -> bool:
    """Whether what the job has fetched may stay for its retry."""
    return job.status == "failed" or (job.status == "cancelled" and job.keep_partial)


async def read(client: Client, called: Names) -> Told:
    """The log from its first commit to its last."""
    log = JetStreamLog(client, called.log)
    await log.start()
    commits: list[Commit] = []
    try:
        end = await log.end()
        for start in range(1, end + 1, AT_ONCE):
            commits += await log.fetch(range(start, min(start + AT_ONCE, end + 1)))
    finally:
        await log.stop()
    return Told(commits)


def assert_jobs_did_what_they_say(told: Told) -> None:
    """Each completed install brought its weights once, each completed deletion removed them once,
    and nobody else did anything."""
    brought, removed = told.count(WeightsInstalled), told.count(WeightsDeleted)
    assert brought == Counter(completed(told.jobs.values(), InstallSpec))
    assert removed == Counter(completed(told.jobs.values(), DeleteSpec))


def completed(found: Iterable[Job], kind: type[InstallSpec] | type[DeleteSpec]) -> Iterable[str]:
    return (job.id for job in found if job.status == "completed" and isinstance(job.spec, kind))


def on_disk(place: Path) -> Mapping[Place, str]:
    """The sha256 of the manifest of all weights there are. Nothing but weights may be there."""
    found: dict[Place, str] = {}
    for file in (path for path in place.rglob("*") if path.is_file()):
        parts = file.relative_to(place).parts
        if parts[0] == RESERVED:
            continue
        target = next(above for above in reversed(file.parents) if manifest_path(above).exists())
        namespace, *name = target.relative_to(place).parts
        found[namespace, "/".join(name)] = manifest.digest_of(target) or ""
    return found


async def assert_read_models_equal_the_log(mllm: System, told: Told) -> None:
    url, end = mllm.env["MLLM_DATABASE_URL"], told.commits[-1].position
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
        await eventually(lambda: _caught_up(db, end), within=PATIENCE)
        for projection in PROJECTIONS:
            await assert_equal_to_a_fold(db, projection, told.commits)


async def _caught_up(db: Db, end: int) -> bool:
    return min([await position(db, projection.name) for projection in PROJECTIONS]) >= end
