"""An install that ends early, for whatever reason, has stopped writing when it has ended."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ulid import ULID

from processors.attempt import Attempt, Counts, Hold
from processors.fetch import journal, owner
from processors.fetch.errors import Fenced
from processors.hub import Hub as HubClient
from processors.install import Connections, InstallRunner
from processors.secrets import FileSecrets
from processors.store import Store
from schemas.job import InstallSpec, Job, ReportProgress
from schemas.live import Level
from schemas.log import Outcome
from schemas.message import Command, Context, Rejected
from schemas.plan import content_key
from tests.hub import Hub, HubSettings, Repo, generated
from tests.processors.fetch.fetching import MIB, REPO, planned
from tests.support import PATIENCE, eventually


@pytest.fixture
def hub() -> Iterator[Hub]:
    slow = HubSettings(bytes_per_second=MIB // 4)
    with Hub(Repo(REPO, {"model.safetensors": generated(64 * MIB)}), settings=slow) as hub:
        yield hub


class Silence:
    """Where lines go that nobody reads."""

    async def write(self, namespace: str, job: str, text: str, level: Level = "info") -> None:
        return


class Eager(Attempt):
    """Reports every time that it is looked at."""

    def due(self, counts: Counts) -> bool:
        return True


class Bench:
    """One install, on a log that says `fenced` once it is told to."""

    def __init__(self, hub: Hub, weights: Path) -> None:
        self.store = Store("default", weights, reserve=0)
        self.fences = False
        files, commit = planned(hub), hub.repos[REPO].head.sha
        key, size = content_key(REPO, commit, files), sum(file.size for file in files)
        spec = InstallSpec(REPO, "main", commit, key, len(files), size)
        job = Job("running", str(ULID()), "org/model", "default", spec=spec, attempt=1)
        context = Context(command="c", at=datetime.now(UTC), actor="worker:w1")
        self.attempt = Eager(job, context, Hold(60.0), self._dispatch, Silence())
        self._runner = InstallRunner(
            HubClient(hub.url, "", patience=PATIENCE),
            FileSecrets(weights),
            self.store,
            Connections(),
        )

    def start(self) -> "asyncio.Task[object]":
        return asyncio.create_task(self._runner.run(self.attempt))

    async def fetches(self) -> None:
        async def arrived() -> bool:
            return self.attempt.counts().bytes_done > MIB

        await eventually(arrived)

    def assert_nobody_writes(self) -> None:
        job = self.attempt.job
        staging = self.store.layout.attempt("default", job.id, job.attempt)
        assert journal.read(staging / "journal", owner.current().boot).closed

    async def _dispatch(self, command: Command, context: Context) -> Outcome:
        if self.fences and isinstance(command, ReportProgress):
            raise Rejected("fenced", "another attempt has begun")
        return Outcome((), None)


async def test_a_fetch_ends_with_an_attempt_that_is_cancelled(hub: Hub, tmp_path: Path) -> None:
    bench = Bench(hub, tmp_path)
    running = bench.start()
    await bench.fetches()

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    bench.assert_nobody_writes()


async def test_a_fetch_ends_with_an_attempt_that_may_not_report(hub: Hub, tmp_path: Path) -> None:
    bench = Bench(hub, tmp_path)
    running = bench.start()
    await bench.fetches()

    bench.fences = True
    with pytest.raises(Fenced):
        await running

    bench.assert_nobody_writes()
