"""What may be asked of a slot, and what may become true of it.

A slot is a place where one model serves. Its runtime aggregate decides who that is: one activation
at a time, what happens when it fails, and what to go back to. What is seen of the serving itself is
an observation, and kept apart (`schemas/status.py`). Types and field names below are the stored
format: add, never rename or repurpose.
"""

from datetime import datetime
from typing import Annotated, Literal, Protocol, TypeAlias

from msgspec import Meta

from schemas.manifest import Manifest
from schemas.message import Command, Event, Value
from schemas.names import JobId, Label, ModelId, Slot, Store, Target

AGGREGATE = "runtime"
DEFAULT_SLOT = "active-llm"

Strategy: TypeAlias = Literal["direct", "blue-green"]
Place: TypeAlias = Literal["a", "b"]
"""Two instances may stand side by side in a slot; each has a place, which names its objects."""

Phase: TypeAlias = Literal["prepare", "stop", "start", "load", "ready", "switch", "drain", "remove"]
"""`stop`: the current one is taken down to make room. `ready`: a candidate that answers waits to be
promoted. `switch` is the point of no return: from then on the candidate is who serves."""

Text = Annotated[str, Meta(max_length=2000)]


class Served(Value):
    """A model that serves, or is to: its manifest as it was then, and where its weights are.

    `id` is the activation's, and names the instance. `version` is the manifest's position.
    """

    id: str
    model: str
    version: int
    manifest: Manifest
    target: str
    store: str
    place: Place = "a"


class ActivateModel(Command):
    """Let `model` serve in the slot. `hold`: once it answers, wait to be promoted.

    `preempt`: take the current model down first, to make room. `by` is who asks, for whoever is
    refused meanwhile. An activation that has not answered after `timeout` seconds has failed.
    `anew`: also if the model is the current one, for nothing answers for it.
    """

    slot: Slot
    activation: JobId
    model: ModelId
    version: int
    manifest: Manifest
    target: Target
    store: Store
    strategy: Strategy
    by: Label
    preempt: bool = False
    hold: bool = False
    timeout: float = 600.0
    anew: bool = False


class StartActivation(Command):
    slot: Slot
    activation: JobId
    worker: Label


class EnterPhase(Command):
    """`ms`: how long the activation has been under way."""

    slot: Slot
    activation: JobId
    phase: Phase
    ms: int


class CompleteActivation(Command):
    slot: Slot
    activation: JobId
    ms: int


class FailActivation(Command):
    """`phase` is the one in which it failed, none before the first: in another it has not."""

    slot: Slot
    activation: JobId
    code: str
    message: Text
    ms: int
    phase: Phase | None = None


class PromoteCandidate(Command):
    """Let the candidate that waits serve. `current`, if said, must be who serves now."""

    slot: Slot
    candidate: ModelId
    by: Label
    current: ModelId | None = None


class RollBack(Command):
    """Give up the activation under way; or, when there is none, go back to who served before.

    `activation` is the id that going back has; `ms` how long the one under way has been so. `ends`
    is the activation to give up, empty when none is to be under way: another is left alone.
    """

    slot: Slot
    activation: JobId
    by: Label
    strategy: Strategy = "blue-green"
    timeout: float = 600.0
    ms: int = 0
    ends: str | None = None


class DeactivateSlot(Command):
    slot: Slot
    deactivation: JobId
    by: Label


class CompleteDeactivation(Command):
    slot: Slot
    deactivation: JobId


class FailDeactivation(Command):
    slot: Slot
    deactivation: JobId
    code: str
    message: Text


class ScaleSlot(Command):
    """`most` is what the driver can do."""

    slot: Slot
    replicas: int
    most: int
    by: Label


class ReportDrift(Command):
    """What serves is not what was applied: `fields` say where. `corrected`: it was put right."""

    slot: Slot
    served: JobId
    fields: tuple[str, ...]
    corrected: bool = False


RuntimeCommand: TypeAlias = (
    ActivateModel
    | StartActivation
    | EnterPhase
    | CompleteActivation
    | FailActivation
    | PromoteCandidate
    | RollBack
    | DeactivateSlot
    | CompleteDeactivation
    | FailDeactivation
    | ScaleSlot
    | ReportDrift
)


class PhaseTime(Value):
    """A phase in milliseconds: how long it took; or, among phases that are told as begun, when it
    began, counted from the request."""

    phase: Phase
    ms: int


class ActivationRequested(Event, tag="model.activation.requested"):
    """`back`: this goes back to what served before."""

    slot: str
    served: Served
    strategy: Strategy
    by: str
    preempt: bool = False
    hold: bool = False
    back: bool = False
    timeout: float = 600.0


class ActivationStarted(Event, tag="model.activation.started"):
    slot: str
    activation: str
    worker: str


class ActivationPhase(Event, tag="model.activation.phase"):
    """A phase begins. `ms` is how long the activation had been under way by then."""

    slot: str
    activation: str
    phase: Phase
    ms: int


class ActivationCompleted(Event, tag="model.activation.completed"):
    """The model answers, and nothing of the one before is left."""

    slot: str
    activation: str
    model: str
    ms: int
    phases: tuple[PhaseTime, ...] = ()


class ActivationFailed(Event, tag="model.activation.failed"):
    slot: str
    activation: str
    model: str
    code: str
    message: str
    phases: tuple[PhaseTime, ...] = ()


class ActivationRolledBack(Event, tag="model.activation.rolledback"):
    """The slot is with `model` again: it never stopped serving, or is brought back."""

    slot: str
    activation: str
    model: str
    by: str = ""


class DeactivationStarted(Event, tag="model.deactivation.started"):
    slot: str
    deactivation: str
    model: str
    by: str


class DeactivationCompleted(Event, tag="model.deactivation.completed"):
    slot: str
    deactivation: str
    model: str


class DeactivationFailed(Event, tag="model.deactivation.failed"):
    slot: str
    deactivation: str
    code: str
    message: str


class Promoted(Event, tag="runtime.promoted"):
    slot: str
    activation: str
    candidate: str
    current: str
    by: str


class Scaled(Event, tag="runtime.scaled"):
    slot: str
    replicas: int
    by: str


class DriftDetected(Event, tag="runtime.drift.detected"):
    slot: str
    model: str
    fields: tuple[str, ...]
    corrected: bool = False


RuntimeEvent: TypeAlias = (
    ActivationRequested
    | ActivationStarted
    | ActivationPhase
    | ActivationCompleted
    | ActivationFailed
    | ActivationRolledBack
    | DeactivationStarted
    | DeactivationCompleted
    | DeactivationFailed
    | Promoted
    | Scaled
    | DriftDetected
)


class Before(Value):
    """What a slot was until the switch, for going back to it."""

    current: Served | None = None
    previous: Served | None = None
    replicas: int | None = None
    drift: tuple[str, ...] = ()


class Flight(Value):
    """An activation under way. `phases` are those begun; each `ms` here is when, counted from the
    request. `phase` is the last of them. `before` is set from the switch on."""

    served: Served
    strategy: Strategy
    by: str
    preempt: bool = False
    hold: bool = False
    back: bool = False
    timeout: float = 600.0
    started: bool = False
    promoted: bool = False
    phases: tuple[PhaseTime, ...] = ()
    before: Before | None = None

    @property
    def phase(self) -> Phase | None:
        return self.phases[-1].phase if self.phases else None


class Deactivation(Value):
    id: str
    by: str


class SlotState(Value):
    """What a slot is now, as its events say.

    `current` is who is to serve: after the switch, the candidate. `previous` is who served before,
    to go back to. `leaving` are instances nobody wants any more, until something has completed
    since: whoever looks after the slot removes what is left of them. `replicas` None: as the
    manifest says. `drift` is what was last reported and not put right. `stopped`: the current one
    was, or may have been, taken down for a candidate that then failed; it is to come back.
    """

    slot: str = ""
    current: Served | None = None
    flight: Flight | None = None
    previous: Served | None = None
    deactivation: Deactivation | None = None
    leaving: tuple[Served, ...] = ()
    replicas: int | None = None
    drift: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def switched(self) -> bool:
        """Whether the activation under way is past its point of no return."""
        flight, current = self.flight, self.current
        return flight is not None and current is not None and current.id == flight.served.id


class Wish(Value):
    """A model wanted in a slot: `model` is its id, or an alias; the rest as in `ActivateModel`.

    `activation` is the new activation's id, a ULID.
    """

    activation: JobId
    model: ModelId
    slot: Slot
    by: Label
    strategy: Strategy = "direct"
    preempt: bool = False
    hold: bool = False
    timeout: float = 600.0


class SeenSlot(Value):
    """A slot at `position`; `requested_at` is when the activation under way was asked for."""

    namespace: str
    state: SlotState
    position: int
    requested_at: datetime | None = None
    correlation: str = ""
    traceparent: str = ""


class Slots(Protocol):
    """Slots as they are now: folded from the log. Raises `LogUnavailable`."""

    async def __call__(self, namespace: str, slot: str) -> SeenSlot: ...

    async def all(self) -> list[tuple[str, str]]:
        """Namespace and name of every slot there ever was."""
        ...
