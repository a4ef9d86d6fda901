"""The files of installed weights.

They come in parts before they count: what `weights.installed` then seals are the parts of its
job. So parts stay as they came, and a seal says whose parts show.
"""

from collections.abc import Iterable

import msgspec

from projections.fold import Projection, events_of, put, remove
from projections.rows import read_rows
from projections.table import Change, Db, Table
from schemas.api.weights import WeightsFileRow
from schemas.job import FinishedFile
from schemas.log import Commit
from schemas.names import weights_id
from schemas.weights import (
    AGGREGATE,
    WeightsDeleted,
    WeightsEvent,
    WeightsFiles,
    WeightsInstalled,
)

FILES, INSTALLED, DELETED = "weights.files", "weights.installed", "weights.deleted"


class PartRow(msgspec.Struct, frozen=True):
    namespace: str
    id: str
    job: str
    part: int
    files: tuple[FinishedFile, ...]


class SealRow(msgspec.Struct, frozen=True):
    """The weights hold the files of the first `parts` parts of `job`."""

    namespace: str
    id: str
    name: str
    job: str
    parts: int


def parts(commit: Commit) -> Iterable[Change[PartRow]]:
    if commit.stream.aggregate != AGGREGATE or FILES not in commit.types:
        return
    namespace, _, id = commit.stream
    for event in events_of(commit):
        if isinstance(event, WeightsFiles):
            row = PartRow(namespace, id, event.job, event.part, event.files)
            yield (namespace, id, event.job, event.part), put(row)


def seals(commit: Commit) -> Iterable[Change[SealRow]]:
    """The commit of `weights.installed` holds the last part too, and with it how many there are."""
    if commit.stream.aggregate != AGGREGATE:
        return
    if INSTALLED not in commit.types and DELETED not in commit.types:
        return
    namespace, _, id = commit.stream
    parts = 0
    for event in events_of(commit):
        if isinstance(event, WeightsFiles):
            parts = event.part
        if isinstance(event, WeightsInstalled):
            row = SealRow(namespace, id, event.target, event.job, parts)
            yield (namespace, id), put(row)
        if isinstance(event, WeightsDeleted):
            yield (namespace, id), remove


weights_parts = Table(
    name="weights_parts",
    row=PartRow,
    key=("namespace", "id", "job", "part"),
    order=("namespace", "id", "job", "part"),
    changes=parts,
    blind=True,
)
weights_seals = Table(
    name="weights_seals",
    row=SealRow,
    key=("namespace", "id"),
    order=("namespace", "id"),
    changes=seals,
)
projection = Projection("weights_files", (weights_parts, weights_seals), __file__, WeightsEvent)


async def files(db: Db, namespace: str, name: str) -> tuple[WeightsFileRow, ...]:
    """The files of what is installed as `name`, by path; none when nothing is."""
    sealed = await read_rows(
        db,
        weights_parts,
        b"SELECT p.namespace, p.id, p.job, p.part, p.files"
        b" FROM weights_seals s JOIN weights_parts p USING (namespace, id, job)"
        b" WHERE namespace = %s AND id = %s AND p.part <= s.parts",
        [namespace, weights_id(name)],
    )
    rows = (
        WeightsFileRow(namespace, name, file.path, file.size, file.algorithm, file.digest)
        for part in sealed
        for file in part.files
    )
    return tuple(sorted(rows, key=lambda row: row.path))
