"""Following a job's log: what was written, then what is being written, until the job ends."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import msgspec

from gateway.connections import Connection, Write
from gateway.ending import end
from gateway.frames import Filter
from gateway.media_types import TEXT
from gateway.stream import EventStream
from projections.jobs import row_of
from schemas.job import AGGREGATE, ENDED
from schemas.live import JobLogs, LogLine
from schemas.log import EventLog, Stream
from schemas.message import Rejected

ENDS = frozenset(f"job.{status}" for status in ENDED)
LINGER_SECONDS = 1.0
"""How long lines are waited for after the job's end: they travel on another road."""


SILENCE_SECONDS = 15.0


def as_json(line: LogLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def as_text(line: LogLine) -> bytes:
    """A line for people; one of several lines stays one."""
    text = line.text.replace("\r", " ").replace("\n", " ")
    return f"{line.at:%Y-%m-%dT%H:%M:%SZ} {line.level:<7} {text}\n".encode()


class Following:
    def __init__(self, log: EventLog, lines: JobLogs, stream: EventStream) -> None:
        self._log = log
        self._lines = lines
        self._stream = stream

    async def ended(self, namespace: str, job: str) -> bool:
        """Whether the job has ended. Raises `Rejected` with `not_found`, `LogUnavailable`."""
        row = row_of(await self._log.load(Stream(namespace, AGGREGATE, job)))
        if row is None:
            raise Rejected("not_found", f"no job {job}")
        return row.status in ENDED

    def follow(self, namespace: str, job: str, after: int, media_type: str) -> Write:
        """Writes the lines past the cursor `after` until the job has ended."""
        encode, silence = (as_text, b"") if media_type == TEXT else (as_json, b"\n")

        async def write(connection: Connection) -> None:
            seen = after
            ending = asyncio.create_task(self._ended(namespace, job))
            try:
                lines = self._lines.follow(namespace, job, after=after)
                async with aclosing(_until(lines, ending)) as wanted:
                    async for line in wanted:
                        if data := encode(line) if line else silence:
                            await connection.write(data)
                        seen = line.cursor if line else seen
            finally:
                await end(ending)
            for line in await self._lines.read(namespace, job, after=seen):
                await connection.write(encode(line))

        return write

    async def _ended(self, namespace: str, job: str) -> None:
        """Return once the job has ended."""
        ring = self._stream.commits
        filter = Filter(namespace, types=ENDS, aggregate=AGGREGATE, id=job)
        after = -1
        while True:
            if after < ring.start:  # at first, and when the ring has gone further than this
                after = ring.end
                if await self.ended(namespace, job):
                    return
            chunk = ring.read(filter, after)
            after = chunk.reached
            if chunk.events:
                return
            await self._stream.wait()


async def _until(
    lines: AsyncIterator[LogLine], ending: "asyncio.Task[None]"
) -> AsyncGenerator[LogLine | None]:
    """The lines until `ending` and a little longer; None now and then in a silence."""
    coming = asyncio.ensure_future(anext(lines))
    try:
        while True:
            await asyncio.wait(
                {coming, ending}, timeout=SILENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if ending.done() and not coming.done():
                ending.result()
                await asyncio.wait({coming}, timeout=LINGER_SECONDS)
                if not coming.done():
                    return
            if coming.done():
                yield coming.result()
                coming = asyncio.ensure_future(anext(lines))
            else:
                yield None
    except StopAsyncIteration:
        return
    finally:
        await end(coming)
