"""Writing commits into a read model's tables, each exactly once."""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from prometheus_client import Counter, Gauge, Histogram

from projections import checkpoints
from projections.checkpoints import Checkpoint
from projections.fold import Projection, fold, steps
from projections.rows import key_of, read_rows
from projections.statements import (
    keys_parameter,
    rows_parameter,
    statements,
    superseded_parameter,
)
from projections.table import Db, Key, R, Table
from schemas.log import Commit

BATCHES = Counter("mllm_projection_batches_total", "Transactions written", ["projection"])
COMMITS = Counter("mllm_projection_commits_total", "Commits read from the log", ["projection"])
SECONDS = Histogram("mllm_projection_batch_seconds", "Folding and writing a batch", ["projection"])
POSITION = Gauge("mllm_projection_position", "The last commit seen", ["projection"])
LAG = Gauge("mllm_projection_lag_seconds", "Age of the last commit when seen", ["projection"])

REMEMBERED_ROWS = 20_000

tracer = trace.get_tracer(__name__)


class Moved(Exception):
    """The checkpoint is not where this writer left it: someone else writes, or rebuilt it."""


class Writer:
    """The one writer of a read model, from its checkpoint on. After an exception, make another."""

    def __init__(
        self, db: Db, projection: Projection, version: str, checkpoint: Checkpoint
    ) -> None:
        self._db = db
        self._projection = projection
        self.version = version
        self._suffix = checkpoint.name.removeprefix(projection.name)
        self._checkpoint = checkpoint
        self._rows: dict[str, dict[Key, Any]] = {table.name: {} for table in projection.tables}

    @classmethod
    async def open(cls, db: Db, projection: Projection, version: str, suffix: str = "") -> "Writer":
        """The writer from the stored checkpoint on. Raises `Moved` when there is none."""
        name = projection.name + suffix
        # Where nothing was written yet, this version is the one that writes.
        await db.execute(
            "UPDATE checkpoints SET version = %s WHERE name = %s AND position = 0", [version, name]
        )
        checkpoint = await checkpoints.read(db, name)
        if checkpoint is None:
            raise Moved("it has no checkpoint; mllm migrate makes one")
        return cls(db, projection, version, checkpoint)

    @property
    def name(self) -> str:
        return self._checkpoint.name

    @property
    def position(self) -> int:
        return self._checkpoint.position

    @property
    def outdated(self) -> bool:
        """Whether the rows have to be folded anew, as of the last write or look."""
        return self._checkpoint.rebuild_requested or self._checkpoint.version != self.version

    async def advance(self, commits: Sequence[Commit]) -> None:
        """Fold commits that come next in the log, in one transaction with the checkpoint.

        Those that were folded before are passed over. Raises `Moved` and psycopg's errors.
        """
        commits = [commit for commit in commits if commit.position > self.position]
        if not commits:
            return await self.look()
        with self._observed(commits):
            async with self._db.transaction():
                # First, so that whoever else would move it waits here and then finds it moved.
                await self._move(commits[-1].position)
                for table in self._projection.tables:
                    await self._write(table, commits)
        self._checkpoint.position = commits[-1].position

    async def rename(self, name: str) -> None:
        """Let the rows be those of `name`, in the caller's transaction. Raises `Moved`."""
        renamed = await self._db.execute(
            "UPDATE checkpoints SET name = %s WHERE id = %s AND position = %s",
            [name, self._checkpoint.id, self.position],
        )
        if renamed.rowcount != 1:
            raise Moved("another moved the checkpoint of its rebuild")

    async def look(self) -> None:
        """See whether the checkpoint is still ours, and what was asked for. Raises `Moved`."""
        found = await checkpoints.read(self._db, self.name)
        if found is None or (found.id, found.position) != (self._checkpoint.id, self.position):
            raise Moved("another moved its checkpoint, or it was rebuilt")
        self._checkpoint = found

    async def _move(self, position: int) -> None:
        moved = await self._db.execute(
            "UPDATE checkpoints SET position = %s, updated_at = now()"
            " WHERE id = %s AND position = %s RETURNING rebuild_requested",
            [position, self._checkpoint.id, self.position],
        )
        if (row := await moved.fetchone()) is None:
            raise Moved("another moved its checkpoint, or it was rebuilt")
        [self._checkpoint.rebuild_requested] = row

    async def _write(self, table: Table[R], commits: Sequence[Commit]) -> None:
        todo = steps(table, commits)
        rows = self._rows[table.name]
        if not table.blind:
            await self._load(table, {key for _, (key, _) in todo} - rows.keys())
        changed, superseded = fold(table, todo, rows)
        gone = [key for key, row in changed.items() if row is None]
        kept = [row for row in changed.values() if row is not None]
        said = statements(table, self._suffix)
        if superseded:
            await self._db.execute(said.supersede, [superseded_parameter(superseded)])
        if gone:
            await self._db.execute(said.drop, [keys_parameter(table, gone)])
        if kept:
            await self._db.execute(said.put, [rows_parameter(kept)])
        if table.blind or len(rows) > REMEMBERED_ROWS:
            rows.clear()

    async def _load(self, table: Table[R], keys: Collection[Key]) -> None:
        if keys:
            parameter = keys_parameter(table, keys)
            query = statements(table, self._suffix).load
            known = self._rows[table.name]
            known.update(dict.fromkeys(keys))
            for row in await read_rows(self._db, table, query, [parameter]):
                known[key_of(table, row)] = row

    @contextmanager
    def _observed(self, commits: Sequence[Commit]) -> Generator[None]:
        """Metrics and a span around a batch."""
        facts: dict[str, str | int] = {"projection": self.name, "commits": len(commits)}
        with (
            tracer.start_as_current_span("projection.batch", attributes=facts),
            SECONDS.labels(self.name).time(),
        ):
            yield
        BATCHES.labels(self.name).inc()
        COMMITS.labels(self.name).inc(len(commits))
        POSITION.labels(self.name).set(commits[-1].position)
        LAG.labels(self.name).set((datetime.now(UTC) - commits[-1].at).total_seconds())
