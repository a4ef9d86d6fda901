"""What may be asked of the weights in one target, and what may become true of them.

The weights aggregate owns its target: who may install there, delete it, or rely on it is decided
here. Types and field names below are the stored format: add, never rename or repurpose.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, TypeAlias

from msgspec.structs import replace

from schemas.disk import Disk
from schemas.facts import Facts, first_part
from schemas.job import FinishedFile, JobSpec, Priority
from schemas.message import Command, Event, Value
from schemas.names import JobId, Label, Store, Target
from schemas.remedies import refuse_unknown_file

AGGREGATE = "weights"


class ReserveWeights(Command):
    """Claim the target for a job. `key` names the content: the same key, the same job.

    `turn` counts the job's retries: 0 is the first time. `clean` is the retry's. A claim that
    nobody has made yet takes what `disk` says there is.
    """

    target: Target
    job: JobId
    key: str
    store: Store
    priority: Priority
    spec: JobSpec
    turn: int = 0
    clean: bool = False
    disk: Disk | None = None


class ReleaseWeights(Command):
    """End the job's claim, however the job ended, in that turn: not that of a later retry."""

    target: Target
    job: JobId
    turn: int


class RecordFiles(Command):
    """One part of a list of files too long for one commit."""

    target: Target
    job: JobId
    part: int
    of: int
    files: tuple[FinishedFile, ...]


class RecordInstalled(Command):
    """The target now holds what its manifest says. `files` is the last part of the list, `facts`
    what the files themselves say of the model, and `others` what each further GGUF model says."""

    target: Target
    job: JobId
    manifest: str
    bytes: int
    part: int
    of: int
    files: tuple[FinishedFile, ...]
    left_out: tuple[str, ...] = ()
    facts: Facts | None = None
    others: Mapping[str, Facts] = {}


class RecordVerified(Command):
    """`manifest` is the sha256 of the one compared with: refused if another is there by now."""

    target: Target
    job: JobId
    files: int
    bytes: int
    manifest: str = ""


class RecordCorrupted(Command):
    """`manifest` as in `RecordVerified`."""

    target: Target
    job: JobId
    paths: tuple[str, ...]
    manifest: str = ""


class RecordDeleted(Command):
    target: Target
    job: JobId


class ReferenceWeights(Command):
    """`by` relies on the weights: they are not deleted until it lets go. Nor are they replaced,
    unless it is a model: that means whatever is there when it is activated."""

    target: Target
    by: Label


class UnreferenceWeights(Command):
    target: Target
    by: Label


WeightsCommand: TypeAlias = (
    ReserveWeights
    | ReleaseWeights
    | RecordFiles
    | RecordInstalled
    | RecordVerified
    | RecordCorrupted
    | RecordDeleted
    | ReferenceWeights
    | UnreferenceWeights
)


class WeightsReserved(Event, tag="weights.reserved"):
    """Holds all of the job's request, so that whoever finds the claim without its job makes it,
    and whoever finds it with a job that has not been retried `turn` times yet retries it."""

    target: str
    job: str
    key: str
    store: str
    priority: Priority
    spec: JobSpec
    turn: int = 0
    clean: bool = False


class WeightsReleased(Event, tag="weights.released"):
    target: str
    job: str


class WeightsFiles(Event, tag="weights.files"):
    """Part `part` of `of` (from 1) of the files that `weights.installed` then seals."""

    target: str
    job: str
    part: int
    of: int
    files: tuple[FinishedFile, ...]


class WeightsInstalled(Event, tag="weights.installed"):
    """`manifest` is the sha256 of the manifest beside the files; `left_out` says what was not."""

    target: str
    job: str
    manifest: str
    key: str
    store: str
    repo: str
    revision: str
    commit: str
    files: int
    bytes: int
    license: str = ""
    left_out: tuple[str, ...] = ()
    facts: Facts | None = None
    others: Mapping[str, Facts] = {}


class WeightsVerified(Event, tag="weights.verified"):
    target: str
    job: str
    files: int
    bytes: int


class WeightsCorrupted(Event, tag="weights.corrupted"):
    target: str
    job: str
    paths: tuple[str, ...]


class WeightsReferenced(Event, tag="weights.referenced"):
    target: str
    by: str


class WeightsUnreferenced(Event, tag="weights.unreferenced"):
    target: str
    by: str


class WeightsDeleted(Event, tag="weights.deleted"):
    target: str
    job: str


WeightsEvent: TypeAlias = (
    WeightsReserved
    | WeightsReleased
    | WeightsFiles
    | WeightsInstalled
    | WeightsVerified
    | WeightsCorrupted
    | WeightsReferenced
    | WeightsUnreferenced
    | WeightsDeleted
)


class Holding(Value):
    """What a target holds, for those who would rely on it. `busy` is the job at work on it.

    Every file was hashed as it was installed; `verified_at` is when all of them were last read
    again since, and found to be as the manifest says. `corrupted` are those last found not to be.
    `others` are the facts of GGUF models that `facts` are not of, by their file.
    """

    target: str
    store: str
    repo: str
    revision: str
    commit: str
    manifest: str
    files: int
    bytes: int
    installed_at: datetime
    verified_at: datetime | None = None
    license: str = ""
    facts: Facts | None = None
    corrupted: tuple[str, ...] = ()
    busy: str = ""
    others: Mapping[str, Facts] = {}

    def facts_of(self, file: str) -> Facts | None:
        """What the GGUF model says that `file` names; what there is says, when it names none.

        Raises `Rejected` with `weights_file_missing`.
        """
        if self.facts is None or not file:
            return self.facts
        first, known = first_part(file), self.facts.gguf_files
        refuse_unknown_file(file, known)
        if self.facts.format == "gguf" and first in known[:1]:
            return self.facts
        found = self.others.get(first)
        return replace(found, gguf_files=known) if found else None


class Holdings(Protocol):
    async def __call__(self, namespace: str, target: str) -> Holding | None:
        """What is installed there; None when nothing is. Raises `LogUnavailable`."""
        ...
