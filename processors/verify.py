"""Verifying weights: every file is hashed again and compared with the manifest, offline."""

from processors.attempt import Attempt, Done, Failed, Result
from processors.fetch.errors import Stopped
from processors.fetch.manifest import digest_of
from processors.fetch.progress import Progress
from processors.fetch.verify import Verdict, verify
from processors.steps import concluded, counts, in_thread, tell
from processors.store import Store
from schemas.job import Job
from schemas.message import Rejected
from schemas.weights import RecordCorrupted, RecordVerified

REMEDY = "install it again with --overwrite"
NAMED = 20
"""How many bad files an error names; the event names a hundred."""


class VerifyRunner:
    """A `Runner` of verifications in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, attempt: Attempt) -> Result:
        return await concluded(attempt, self._verify(attempt))

    async def clean(self, namespace: str, job: Job) -> None:
        """A verification leaves nothing behind."""

    async def _verify(self, attempt: Attempt) -> Result:
        target = self._store.layout.target(attempt.namespace, attempt.job.target)
        progress = Progress()
        attempt.counts = lambda: counts(progress)
        await attempt.enter("verify")
        sha256 = await in_thread(digest_of, target)
        verdict = await in_thread(verify, target, progress, lambda: _proceed(attempt))
        if await in_thread(digest_of, target) != sha256:
            return _of_something_else(attempt.job)
        try:
            return await self._record(attempt, verdict, sha256 or "")
        except Rejected as refusal:
            if refusal.code != "conflict":
                raise
            return _of_something_else(attempt.job)

    async def _record(self, attempt: Attempt, verdict: Verdict, sha256: str) -> Result:
        job, files, bytes = attempt.job, verdict.files, verdict.bytes
        if verdict.well:
            await tell(attempt, RecordVerified(job.target, job.id, files, bytes, sha256))
            attempt.note(f"{files} files, {bytes:,} bytes: all as installed")
            return Done(bytes, files)
        bad = (*verdict.corrupt, *verdict.missing, *verdict.extra)
        await tell(attempt, RecordCorrupted(job.target, job.id, bad[:100], sha256))
        return Failed(
            "verification_failed",
            f"{job.target} is not what was installed: {told(verdict)}",
            retryable=False,
            remedy=REMEDY,
        )


def _of_something_else(job: Job) -> Failed:
    """The weights were replaced meanwhile, and another look is at the new ones; or the manifest
    itself is damaged, and remains so."""
    reason = f"the manifest of {job.target} is not the one that was installed"
    return Failed("verification_failed", reason, retryable=True, remedy=REMEDY)


def told(verdict: Verdict) -> str:
    """What is wrong, by name."""
    kinds = {"changed": verdict.corrupt, "missing": verdict.missing, "extra": verdict.extra}
    return "; ".join(
        f"{kind} {', '.join(paths[:NAMED])}{' …' if len(paths) > NAMED else ''}"
        for kind, paths in kinds.items()
        if paths
    )


def _proceed(attempt: Attempt) -> None:
    attempt.hold.check()
    if attempt.stopping is not None:
        raise Stopped(attempt.stopping)
