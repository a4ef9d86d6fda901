"""What an aggregate is now, for those who act on it: folded from the log, never from a table."""

from commands import job as jobs
from schemas.job import JobStarted, Seen
from schemas.log import EventLog, Stream


class Jobs:
    """A `Look` on a log."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def __call__(self, namespace: str, job: str) -> Seen:
        history = await self._log.load(Stream(namespace, jobs.decider.aggregate, job), fresh=True)
        started = [c.at for c in history for event in c.events if isinstance(event, JobStarted)]
        return Seen(
            job=jobs.decider.state(history),
            position=history[-1].position if history else 0,
            started_at=started[-1] if started else None,
            correlation=history[0].correlation if history else "",
            traceparent=history[0].traceparent if history else "",
        )
