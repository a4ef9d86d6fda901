"""`mllm rollout`: an activation under way, and what a verb does that has just asked for one."""

import time

from cyclopts import App
from msgspec.structs import replace

from cli.client import Gateway
from cli.display import display
from cli.exits import Exit
from cli.failures import Failure
from cli.parameters import Duration, Patience
from cli.runtime_drawing import ROLLOUT
from cli.runtime_progress import Rollout, begin, under_way
from cli.runtime_rows import SLOTS, Seen
from cli.runtime_watching import conclude, detached, watch
from cli.session import Here, Session, Watching
from schemas.api.problem import Page
from schemas.api.runtime import RuntimeAccepted, SlotRow, StatusRow
from schemas.runtime import DEFAULT_SLOT

MOST_SLOTS = 200
POLL_SECONDS = 0.5

app = App(name="rollout", help="Follow an activation.")


@app.command
def status(
    slot: str = DEFAULT_SLOT,
    /,
    *,
    timeout: Duration | None = None,
    watch: Watching,
    session: Here,
) -> int:
    """Follow what is under way in SLOT, or for a model, to its end, and exit by how it ended.

    Ctrl-C only detaches. When nothing is under way, this says how the last activation ended.

    Parameters
    ----------
    slot
        A slot's name, or the id of a model that serves, or is to serve, in one.
    timeout
        Give up after this long (90s, 10m). The activation goes on.
    """
    row = _named(session.gateway, slot)
    id = under_way(row) or (row.failure.activation if row.failure else row.activation)
    if not id:
        session.printer.row(seen(session.gateway, row), SLOTS)
        return 0
    return to_the_end(session, begin(row, id), Patience(timeout=timeout).deadline(), shown=True)


def _named(gateway: Gateway, name: str) -> SlotRow:
    """A slot's row, by its name or by its one model's. Raises `Failure` when there is none."""
    slots = [*gateway.get("/runtime", Page[SlotRow], slot=name).items]
    if not slots:
        every = gateway.get("/runtime", Page[SlotRow], limit=MOST_SLOTS).items
        slots = [row for row in every if name in _models(row)]
    match slots:
        case [row]:
            return row
        case []:
            raise nothing_there(name)
        case _:
            remedy = f"name a slot: {', '.join(row.slot for row in slots)}"
            raise Failure(f"{name} is in several slots", remedy, exit=Exit.USAGE)


def _models(row: SlotRow) -> tuple[str, ...]:
    return (row.candidate.model, row.model) if row.candidate else (row.model,)


def follow_through(
    session: Session, accepted: RuntimeAccepted, patience: Patience, watching: bool
) -> int:
    """Print the slot something was asked of, at once or, if that is wanted, once it is done.

    Returns the exit code. Raises `Failure` when it did not go well.
    """
    slot, id = accepted.slot, accepted.activation
    if not id:
        session.hint(f"{slot.slot} is so already: nothing needs to happen")
    elif (patience.wait or watching) and id == slot.activation and not under_way(slot):
        return _until_it_answers(session, slot, patience.deadline())
    elif patience.wait or watching:
        return to_the_end(session, begin(slot, id), patience.deadline(), shown=watching)
    elif under_way(slot) == id:
        session.hint(f"watch it: mllm rollout status {slot.slot}")
    session.printer.row(seen(session.gateway, slot), SLOTS)
    return 0


def _until_it_answers(session: Session, slot: SlotRow, deadline: float | None) -> int:
    """Print the slot once who is activated there answers, which may be starting anew just now.

    Returns the exit code. Raises `Failure` when it does not, or time is up.
    """
    session.hint(f"{slot.model} is activated in {slot.slot} already")
    while True:
        now = seen(session.gateway, slot)
        health = now.status.health if now.status is not None else "ready"  # nobody says otherwise
        late = deadline is not None and time.monotonic() >= deadline
        if health in ("ready", "degraded"):
            session.printer.row(now, SLOTS)
            return Exit.OK
        if late or health in ("absent", "failed"):
            raise Failure(
                f"{slot.model} is to serve in {slot.slot}, and is {health}",
                f"see why: mllm runtime diagnose {slot.slot}",
                exit=Exit.TIMED_OUT if late else Exit.FAILED,
            )
        time.sleep(POLL_SECONDS)


def to_the_end(session: Session, rollout: Rollout, deadline: float | None, *, shown: bool) -> int:
    """Watch until nothing more happens by itself, then print the slot. `shown`: with progress, if
    nothing else is said.

    Returns the exit code. Raises `Failure` when it did not go well.
    """
    try:
        rollout = watch(session, rollout, display(session, ROLLOUT, shown=shown), deadline)
    except KeyboardInterrupt:
        return detached(session, rollout)
    return conclude(session, _printed(session, rollout))


def fetch_slot(
    gateway: Gateway, slot: str, *, as_of: str | None = None, min_sequence: int | None = None
) -> SlotRow:
    """A slot's row. Raises `Failure` when there never was such a slot."""
    said = {"slot": slot, "as_of": as_of, "min_sequence": min_sequence}
    found = gateway.get("/runtime", Page[SlotRow], **said)
    row = next((row for row in found.items if row.slot == slot), None)
    if row is None:
        raise nothing_there(slot)
    return row


def nothing_there(slot: str) -> Failure:
    return Failure(
        f"nothing was ever activated in {slot}",
        f"mllm runtime activate MODEL --slot {slot}",
        exit=Exit.NOT_FOUND,
    )


def seen(gateway: Gateway, row: SlotRow, *, min_sequence: int | None = None) -> Seen:
    """The slot with what was last seen of it; not seeing that is no failure."""
    try:
        found = gateway.rows("/models/status", StatusRow, min_sequence=min_sequence).rows
    except Failure:
        return Seen(row)
    return Seen(row, next((one for one in found if one.slot == row.slot), None))


def _printed(session: Session, rollout: Rollout) -> Rollout:
    """Print the slot, and add who serves there now to what is known. The log said already how it
    ended: not seeing the row is no failure."""
    try:
        row = fetch_slot(session.gateway, rollout.slot, min_sequence=rollout.position)
    except Failure as failure:
        session.hint(f"the slot can not be shown: {failure.cause}")
        return rollout
    now = seen(session.gateway, row, min_sequence=rollout.position)
    session.printer.row(now, SLOTS)
    return replace(rollout, stays=rollout.stays or row.model)
