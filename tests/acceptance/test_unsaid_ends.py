"""Workers that die after the deed is done and recorded, and before they say that the job is: the
target is free by then, and what comes next must be safe from those who finish the job."""

from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import nats
import pytest

from cli.streams import names
from commands.dispatch import Dispatcher
from commands.jetstream import JetStreamLog
from commands.looking import Jobs
from processors.fetch import commit as place
from processors.fetch import manifest as manifests
from processors.fetch.layout import Layout, content
from processors.fetch.manifest import Manifest
from processors.steps import unfenced
from schemas.job import BeginCommit, FinishedFile, InstallSpec, Job, StartAttempt
from schemas.message import Command, Context
from schemas.weights import RecordDeleted, RecordInstalled
from tests.acceptance.soundness import assert_sound
from tests.acceptance.test_installing import assert_installed, fresh
from tests.hub import Hub, Repo
from tests.system import System, system


class Mortal:
    """A worker that does a job's work, and never says that the job is completed."""

    def __init__(self, mllm: System, log: JetStreamLog) -> None:
        self.layout = Layout(mllm.weights)
        self.look = Jobs(log)
        self.dispatch = Dispatcher(log)

    async def install(self, id: str, repo: Repo) -> None:
        job = await self.start(id)
        assert isinstance(job.spec, InstallSpec)
        staged = content(self.layout.attempt("default", id, job.attempt))
        files: list[FinishedFile] = []
        for path, file in repo.head.files.items():
            data = file.content if isinstance(file.content, bytes) else file.content.read_bytes()
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            (staged / path).write_bytes(data)
            kind = "sha256" if file.sha256 else "blob-sha1"
            files.append(FinishedFile(path, file.size, kind, file.etag))
        manifest = Manifest(repo.id, job.spec.commit, job.spec.revision, id, tuple(files))
        sealed = place.seal(staged, manifest, unfenced)
        await self.say(BeginCommit(id, job.attempt, sealed))
        place.commit(staged, self.layout.target("default", job.target), sealed, unfenced)
        await self.say(RecordInstalled(job.target, id, sealed, manifest.bytes, 1, 1, tuple(files)))

    async def delete(self, id: str) -> None:
        job = await self.start(id)
        target = self.layout.target("default", job.target)
        await self.say(BeginCommit(id, job.attempt, manifests.digest_of(target) or ""))
        place.remove(target, self.layout.trash, unfenced)
        await self.say(RecordDeleted(job.target, id))

    async def start(self, id: str) -> Job:
        attempt = (await self.look("default", id)).job.attempt + 1
        await self.say(StartAttempt(id, attempt, "mortal"))
        return (await self.look("default", id)).job

    async def say(self, command: Command) -> None:
        context = Context(command=uuid4().hex, at=datetime.now(UTC), actor="worker:mortal")
        await self.dispatch(command, context)


@pytest.fixture
def mllm(
    tmp_path: Path, nats_url: str, database_url: str, stream_prefix: str, hub: Hub
) -> Generator[System]:
    """Without workers, for the mortal one to be the first."""
    with system(tmp_path, nats_url, database_url, stream_prefix, hub.url) as made:
        made.start("gateway", "projections")
        yield made


@pytest.fixture
async def worker(mllm: System) -> AsyncGenerator[Mortal]:
    async with await nats.connect(mllm.env["MLLM_NATS_URL"]) as client:
        log = JetStreamLog(client, names(mllm.env["MLLM_STREAM_PREFIX"]).log)
        await log.start()
        yield Mortal(mllm, log)
        await log.stop()


async def test_a_deletion_without_its_end_spares_what_is_installed_after_it(
    mllm: System, hub: Hub, worker: Mortal
) -> None:
    old, new = fresh(hub), fresh(hub)
    first = mllm.install(old.id, target="t")["job"]["id"]
    await worker.install(first, old)
    deletion = mllm.call("DELETE", "/weights", name="t").json()["job"]["id"]
    await worker.delete(deletion)
    second = mllm.install(new.id, target="t")["job"]["id"]

    mllm.start("processors")

    for job in (first, deletion, second):
        assert mllm.until(job)["status"] == "completed"
    assert_installed(mllm, new, "t")
    await assert_sound(mllm)


async def test_an_install_without_its_end_does_not_bring_back_what_was_deleted_after_it(
    mllm: System, hub: Hub, worker: Mortal
) -> None:
    repo = fresh(hub)
    first = mllm.install(repo.id, target="t")["job"]["id"]
    await worker.install(first, repo)
    deletion = mllm.call("DELETE", "/weights", name="t").json()["job"]["id"]
    await worker.delete(deletion)

    mllm.start("processors")

    for job in (first, deletion):
        assert mllm.until(job)["status"] == "completed"
    assert not (mllm.weights / "default" / "t").exists()
    await assert_sound(mllm)


async def test_an_install_without_its_end_spares_what_has_replaced_it(
    mllm: System, hub: Hub, worker: Mortal
) -> None:
    old, new = fresh(hub), fresh(hub)
    first = mllm.install(old.id, target="t", overwrite=True)["job"]["id"]
    await worker.install(first, old)
    second = mllm.install(new.id, target="t", overwrite=True)["job"]["id"]

    mllm.start("processors")

    for job in (first, second):
        assert mllm.until(job)["status"] == "completed"
    assert_installed(mllm, new, "t")
    await assert_sound(mllm)
