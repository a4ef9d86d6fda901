"""Slots, activations and what is seen of them, as the API shows them."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from schemas.message import Value
from schemas.names import JobId, ModelId, Slot
from schemas.runtime import DEFAULT_SLOT, Phase, PhaseTime, Place, Strategy
from schemas.status import Health, PodStatus, SlotStatus
from schemas.workloads import Node

SlotCondition: TypeAlias = Literal["idle", "activating", "serving", "deactivating", "failed"]
ActivationKind: TypeAlias = Literal["activation", "deactivation"]
ActivationOutcome: TypeAlias = Literal["pending", "running", "completed", "failed", "rolledback"]
Severity: TypeAlias = Literal["error", "warning", "info"]
Timeout = Annotated[float, Meta(ge=1, le=86_400, description="seconds")]


class ServedRow(Value):
    """A model as it serves, or served, in a slot."""

    activation: str
    model: str
    version: int
    target: str
    store: str
    place: str
    runtime: str
    replicas: int
    since: datetime
    by: str


class Drift(Value):
    """Where what serves is not what was applied, seen at `at`. `corrected`: it was put right."""

    fields: tuple[str, ...]
    at: datetime
    corrected: bool = False


class BeforeRow(Value):
    """What a slot was until the switch, for going back to it."""

    current: ServedRow | None = None
    previous: ServedRow | None = None
    drift: Drift | None = None


class CandidateRow(Value):
    """The activation under way in a slot. `phases` are those begun, each `ms` counted from
    `requested_at`; `waiting`: it answers, and waits to be promoted. `before` is set from the
    switch on."""

    activation: str
    model: str
    version: int
    target: str
    store: str
    place: Place
    strategy: Strategy
    by: str
    requested_at: datetime
    runtime: str = ""
    phase: Phase | Literal[""] = ""
    phases: tuple[PhaseTime, ...] = ()
    worker: str = ""
    preempt: bool = False
    hold: bool = False
    back: bool = False
    waiting: bool = False
    replicas: int = 1
    timeout: float = 600.0
    before: BeforeRow | None = None


class Failure(Value):
    """The last activation, or deactivation, that failed since something last went well."""

    activation: str
    model: str
    code: str
    message: str
    at: datetime


class SlotRow(Value):
    """A slot as of `position`: who is to serve there, as the log has it, since when.

    While an activation is under way, `candidate` says which, and all else is about who serves
    meanwhile. `previous` is what a rollback goes back to. `failed` is a slot that is empty because
    its last activation failed.
    """

    namespace: str
    slot: str
    state: SlotCondition
    position: int
    updated_at: datetime
    model: str = ""
    version: int = 0
    activation: str = ""
    target: str = ""
    store: str = ""
    place: str = ""
    runtime: str = ""
    since: datetime | None = None
    by: str = ""
    replicas: int = 0
    previous: ServedRow | None = None
    deactivation: str = ""
    candidate: CandidateRow | None = None
    drift: Drift | None = None
    failure: Failure | None = None


class ActivationRow(Value):
    """One activation, or deactivation, from its request to its end.

    `phases` say how long each took; `ms` how long it took altogether. `returned_to` is who serves
    again, or still, after one that came to nothing.
    """

    namespace: str
    id: str
    slot: str
    kind: ActivationKind
    outcome: ActivationOutcome
    model: str
    by: str
    requested_at: datetime
    updated_at: datetime
    position: int
    correlation: str
    version: int = 0
    target: str = ""
    place: str = ""
    strategy: Strategy | Literal[""] = ""
    preempt: bool = False
    hold: bool = False
    back: bool = False
    worker: str = ""
    phase: Phase | Literal[""] = ""
    phases: tuple[PhaseTime, ...] = ()
    ms: int = 0
    promoted_by: str = ""
    rolled_back_by: str = ""
    returned_to: str = ""
    code: str = ""
    message: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


class StatusRow(SlotStatus, kw_only=True):
    """What was last seen of a slot, as of `position`."""

    namespace: str
    slot: str
    position: int
    updated_at: datetime


class ActiveRow(Value):
    """A slot that serves, or is to, and how it is seen to be. `path` is where to ask it."""

    namespace: str
    slot: str
    state: SlotCondition
    model: str
    version: int
    activation: str
    target: str
    runtime: str
    path: str
    health: Health = "absent"
    message: str = ""
    replicas: int = 0
    replicas_ready: int = 0
    gpus: int = 0
    since: datetime | None = None


class SlotBody(Value, forbid_unknown_fields=True):
    slot: Slot = DEFAULT_SLOT


class ActivateBody(Value, forbid_unknown_fields=True):
    """`model_id` is a model's id or alias. `hold`: wait to be promoted once it answers.

    `preempt`: take down who serves now first, if its GPUs are needed.
    """

    model_id: ModelId
    slot: Slot = DEFAULT_SLOT
    strategy: Strategy = "direct"
    preempt: bool = False
    hold: bool = False
    timeout_seconds: Timeout = 600.0


class RollbackBody(Value, forbid_unknown_fields=True):
    """`activation`, if said, must be the one under way: it is given up, and no other."""

    slot: Slot = DEFAULT_SLOT
    strategy: Strategy = "blue-green"
    timeout_seconds: Timeout = 600.0
    activation: JobId | None = None


class PromoteBody(Value, forbid_unknown_fields=True):
    """`current_id`, if said, must be who serves now."""

    candidate_id: ModelId
    current_id: ModelId | None = None
    slot: Slot = DEFAULT_SLOT


class ScaleBody(Value, forbid_unknown_fields=True):
    replicas: Annotated[int, Meta(ge=0, le=1000)]
    slot: Slot = DEFAULT_SLOT


class RuntimeAccepted(Value):
    """`slot` is the whole slot as of `sequence`; `activation` the activation, or deactivation,
    that this is about, empty when nothing needs to happen."""

    slot: SlotRow
    activation: str
    sequence: int


class PodRow(PodStatus, kw_only=True):
    """A pod, or a process, of a slot. `model` is the one in it."""

    namespace: str
    slot: str
    model: str
    seen_at: datetime


class GpuSums(Value):
    """GPUs: `requested` by what is shown; `total` and `free` of all machines, None when they can
    not be asked."""

    requested: int
    total: int | None = None
    free: int | None = None


class Pods(Value):
    """`note` says why there are no machines to show, if so."""

    items: tuple[PodRow, ...]
    gpus: GpuSums
    nodes: tuple[Node, ...] = ()
    note: str = ""
    next_cursor: str | None = None


class RuntimeEventRow(Value):
    """Something that happened to a slot: `log` events, which have a `sequence`, and what the
    `world` that runs it says itself."""

    at: datetime
    source: Literal["log", "world"]
    kind: Literal["normal", "warning"]
    slot: str
    reason: str
    message: str
    object: str = ""
    count: int = 1
    sequence: int | None = None


class Finding(Value):
    """Something that is wrong, or worth knowing: what shows it, and what to do."""

    severity: Severity
    problem: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""


class Diagnosis(Value):
    """`healthy`: no finding is an error or a warning."""

    slot: str
    state: SlotCondition
    healthy: bool
    findings: tuple[Finding, ...]
