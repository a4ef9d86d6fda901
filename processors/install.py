"""Installing weights: what one attempt does, from the Hub's listing to files in their place.

Every step may find itself half done by an earlier attempt, and finishes it: bytes that are there
are not fetched again, a rename that happened is not repeated, what was recorded is not recorded
twice.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from opentelemetry import trace

from processors.attempt import Attempt, Counts, Done, Result
from processors.choice import choose
from processors.ending import outlast
from processors.facts.reading import facts_of_others, read_facts
from processors.facts.source import Folder
from processors.fetch import commit as place
from processors.fetch import layout
from processors.fetch import manifest as manifests
from processors.fetch.engine import Fetcher
from processors.fetch.limits import Limits
from processors.fetch.manifest import Manifest
from processors.fetch.progress import Progress
from processors.fetch.source import Source
from processors.fetch.xet import Xet
from processors.hub import HubAccess
from processors.steps import begin_commit, concluded, counts, heed, in_thread, tell, unfenced
from processors.store import Store
from schemas.facts import Facts
from schemas.job import FinishedFile, InstallSpec, Job
from schemas.message import Rejected
from schemas.plan import LeftOut, PlannedFile, content_key
from schemas.secrets import Secrets
from schemas.weights import RecordFiles, RecordInstalled

tracer = trace.get_tracer("mllm.install")
logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
PART_BYTES = 96 * 1024
"""How much of a list of files goes into one commit of the log."""


class Connections(NamedTuple):
    """How hard a worker may pull. Bytes a second (0: no cap) and seconds."""

    streams: int = 16
    bandwidth: int = 0
    stall: float = 30.0
    xet: bool = True


class InstallRunner:
    """A `Runner` of installs into one store."""

    def __init__(
        self, hub: HubAccess, secrets: Secrets, store: Store, connections: Connections
    ) -> None:
        self._hub = hub
        self._secrets = secrets
        self._store = store
        self._connections = connections

    async def run(self, attempt: Attempt) -> Result:
        return await concluded(attempt, self._install(attempt))

    async def clean(self, namespace: str, job: Job) -> None:
        """Remove everything that the job's attempts have staged."""
        staged = self._store.layout.job(namespace, job.id)
        await in_thread(place.discard, staged, self._store.layout.trash, unfenced)

    async def _install(self, attempt: Attempt) -> Result:
        job, spec = attempt.job, spec_of(attempt.job)
        target = self._store.layout.target(attempt.namespace, job.target)
        if job.committing and await in_thread(place.committed, target, job.manifest):
            return await self._record(attempt, target, ())
        files, left_out = await self._plan(attempt, spec)
        staging = self._store.layout.attempt(attempt.namespace, job.id, job.attempt)
        with tracer.start_as_current_span("fetch"):
            finished = await self._fetch(attempt, files, staging)
        await attempt.enter("verify")
        content = layout.content(staging)
        manifest = Manifest(spec.repo, spec.commit, spec.revision, job.id, tuple(finished))
        hold = attempt.hold.check
        sealed = await in_thread(place.seal, content, manifest, hold)
        heed(attempt)
        await begin_commit(attempt, sealed)
        await attempt.enter("commit")
        await in_thread(place.commit, content, target, sealed, hold, replace=spec.overwrite)
        return await self._record(attempt, target, left_out)

    async def _plan(
        self, attempt: Attempt, spec: InstallSpec
    ) -> tuple[Sequence[PlannedFile], Sequence[LeftOut]]:
        """The files that were promised, listed once more at the very commit that was promised."""
        await attempt.enter("resolve")
        token = await self._token(attempt, spec)
        await attempt.enter("plan")
        listing = await self._hub.list(spec.repo, spec.commit, token)
        files, left_out = choose(listing.files, spec.include, spec.exclude)
        if content_key(spec.repo, listing.commit, files) != spec.key:
            raise Rejected("content_changed", f"{spec.repo} is not what it was when it was planned")
        for file in left_out:
            attempt.note(f"left out {file.path}: {file.why}")
        size = sum(file.size for file in files)
        attempt.note(f"{len(files)} files, {size:,} bytes, of {spec.repo} at {spec.commit[:12]}")
        heed(attempt)
        return files, left_out

    async def _token(self, attempt: Attempt, spec: InstallSpec) -> str:
        if spec.token_secret:
            return await self._secrets.get(attempt.namespace, spec.token_secret)
        return self._hub.token

    async def _fetch(
        self, attempt: Attempt, files: Sequence[PlannedFile], staging: Path
    ) -> Sequence[FinishedFile]:
        spec = spec_of(attempt.job)
        progress = Progress()
        attempt.counts = lambda: counts(progress)
        total = Counts(bytes_total=spec.bytes, files_total=spec.files)
        await attempt.enter("fetch", total)
        token = await self._token(attempt, spec)
        fetcher = Fetcher(
            Source(self._hub.endpoint, spec.repo, spec.commit, token),
            staging,
            attempt.hold.check,
            limits=self._limits(),
            progress=progress,
            say=attempt.note,
            free=lambda directory: self._store.room(directory).free,
            xet=Xet() if self._connections.xet else None,
        )
        attempt.on_stop(lambda: fetcher.stop(attempt.stopping or "fenced"))
        earlier = await in_thread(self._earlier, attempt)
        fetching = asyncio.create_task(asyncio.to_thread(fetcher.run, files, earlier))
        try:
            await self._report(attempt, fetching, progress)
            return fetching.result()
        finally:
            fetcher.stop(attempt.stopping or "fenced")  # changes nothing once it is over
            await outlast(fetching)

    async def _report(
        self, attempt: Attempt, fetching: "asyncio.Task[list[FinishedFile]]", progress: Progress
    ) -> None:
        """Say on the log how far the fetch is, until it is over."""
        told = 0
        while not fetching.done():
            await asyncio.wait({fetching}, timeout=LOOK_SECONDS)
            if attempt.due(now := counts(progress)) or fetching.done():
                news = progress.finished_since(told)
                told += len(news)
                await attempt.report(now, news)

    def _limits(self) -> Limits:
        pull = self._connections
        return Limits(
            streams=pull.streams,
            bandwidth=pull.bandwidth or None,
            stall=pull.stall,
            reserve=self._store.reserve,
        )

    def _earlier(self, attempt: Attempt) -> list[Path]:
        """What earlier attempts have left and may be gone on from; the rest is removed."""
        job, places = attempt.job, self._store.layout
        usable: list[Path] = []
        for path in places.earlier(attempt.namespace, job.id, job.attempt):
            if int(path.name.partition(".")[0]) > job.clean_after:
                usable.append(path)
            else:
                place.discard(path, places.trash, attempt.hold.check)
        return usable

    async def _record(self, attempt: Attempt, target: Path, left_out: Sequence[LeftOut]) -> Result:
        """Say what is in place, in parts that fit the log, and remove what is left in staging."""
        job = attempt.job
        found = await in_thread(manifests.read, target)
        sha256 = await in_thread(manifests.digest_of, target)
        if found is None or sha256 is None:
            raise Rejected("commit_lost", f"{job.target} has lost its manifest")
        parts = split(found.files)
        for number, part in enumerate(parts[:-1], 1):
            await tell(attempt, RecordFiles(job.target, job.id, number, len(parts), part))
        facts, others = await in_thread(installed_facts, target, found)
        last = RecordInstalled(
            job.target,
            job.id,
            sha256,
            found.bytes,
            len(parts),
            len(parts),
            parts[-1],
            tuple(file.path for file in left_out)[:100],
            facts,
            others,
        )
        await tell(attempt, last)
        await self.clean(attempt.namespace, job)
        attempt.note(f"installed as {job.target}: every hash is as the Hub says")
        return Done(found.bytes, len(found.files))


def spec_of(job: Job) -> InstallSpec:
    assert isinstance(job.spec, InstallSpec)
    return job.spec


def installed_facts(target: Path, manifest: Manifest) -> tuple[Facts, Mapping[str, Facts]]:
    """What installed files say of the model, and what each further GGUF model among them says.
    What can not be read is in the notes."""
    try:
        folder = Folder(target, {file.path: file.size for file in manifest.files})
        try:
            facts = read_facts(folder)
            return facts, facts_of_others(folder, facts)
        finally:
            folder.close()
    except Exception as error:  # the files are a stranger's, and it is installed without facts, too
        logger.exception("facts of %s", manifest.repo)
        return Facts(notes=(f"not readable: an unexpected {type(error).__name__}",)), {}


def split(files: Sequence[FinishedFile]) -> list[tuple[FinishedFile, ...]]:
    """The files in parts that each fit into a commit; one empty part when there are none."""
    parts: list[list[FinishedFile]] = [[]]
    room = PART_BYTES
    for file in files:
        room -= len(msgspec.json.encode(file))
        if room < 0:
            parts.append([])
            room = PART_BYTES
        parts[-1].append(file)
    return [tuple(part) for part in parts]
