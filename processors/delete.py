"""Deleting weights: gone from their target in one step, unlinked afterwards."""

from processors.attempt import Attempt, Done, Result
from processors.fetch import commit as place
from processors.fetch import manifest as manifests
from processors.steps import begin_commit, concluded, in_thread, tell
from processors.store import Store
from schemas.job import Job
from schemas.weights import RecordDeleted


class DeleteRunner:
    """A `Runner` of deletions in one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, attempt: Attempt) -> Result:
        return await concluded(attempt, self._delete(attempt))

    async def clean(self, namespace: str, job: Job) -> None:
        """A deletion leaves nothing behind."""

    async def _delete(self, attempt: Attempt) -> Result:
        job, layout = attempt.job, self._store.layout
        target = layout.target(attempt.namespace, job.target)
        found = await in_thread(manifests.read, target)
        sha256 = await in_thread(manifests.digest_of, target) or ""
        await attempt.enter("remove")
        if not job.committing:
            await begin_commit(attempt, sha256)
        # An earlier attempt may have removed it, and what is there now came after that.
        if not job.committing or sha256 == job.manifest:
            await in_thread(place.remove, target, layout.trash, attempt.hold.check)
        await tell(attempt, RecordDeleted(job.target, job.id))
        return Done(found.bytes if found else 0, len(found.files) if found else 0)
