"""Following an activation to its end, and what that end means."""

from cli.client import Gateway
from cli.display import Display
from cli.evidence import headed
from cli.exits import Exit, of_code
from cli.failures import Failure
from cli.following import Followed, Told, to_the_end
from cli.runtime_progress import News, Rollout, about, advance, decode
from cli.session import Session
from cli.tailing import Message
from schemas.api.runtime import ActivationRow


def watch(
    session: Session, rollout: Rollout, display: Display[Rollout], deadline: float | None
) -> Rollout:
    """Show it until nothing more happens by itself, and return that; as `to_the_end` does."""
    id = rollout.id

    def read(message: Message) -> News | None:
        event = decode(message.payload()) if message.id else None
        return event if event is not None and about(event) == id else None

    def ask(gateway: Gateway) -> Told[News] | None:
        found = gateway.rows("/runtime/history", ActivationRow, 1, activation=id).rows
        return Told(found[0], found[0].position) if found else None

    followed = Followed[Rollout, News]("runtime", rollout.slot, read, ask, advance, _late)
    return to_the_end(session, rollout, followed, display, deadline)


def conclude(session: Session, rollout: Rollout) -> int:
    """The exit code of what went well. Raises `Failure` when it did not."""
    if rollout.waiting:
        promote = f"mllm runtime promote {rollout.model} --slot {rollout.slot}"
        session.hint(f"{rollout.model} answers, and waits to be promoted: {promote}")
        return Exit.OK
    if rollout.outcome == "completed":
        return Exit.OK
    given_up = rollout.outcome == "rolledback"
    stays = f"; {rollout.stays} {_stays(rollout)}" if rollout.stays else ""
    message, lines = headed(rollout.message)
    why = f": {message}" if message else ""
    outcome = "was given up" if given_up else "failed"
    raise Failure(
        f"the {rollout.kind} of {rollout.model} in {rollout.slot} {outcome}{why}{stays}",
        f"see `mllm runtime diagnose {rollout.slot}`",
        exit=Exit.JOB_CANCELLED if given_up else of_code(rollout.code, Exit.JOB_FAILED),
        code=rollout.code,
        request_id=rollout.correlation,
        lines=lines,
    )


def _stays(rollout: Rollout) -> str:
    """What becomes of who served before: it was taken down for the candidate, or never left."""
    passed = {phase.phase for phase in rollout.phases}
    return "is brought back" if passed & {"stop", "switch"} else "serves on"


def detached(session: Session, rollout: Rollout) -> int:
    """Say how to come back. Returns the exit code."""
    again = f"mllm rollout status {rollout.slot}"
    session.hint(f"\ndetached; the {rollout.kind} goes on. Attach again: {again}")
    if rollout.kind == "activation":
        session.hint(f"To give it up: mllm runtime rollback {rollout.slot}")
    return Exit.INTERRUPTED


def _late(rollout: Rollout) -> Failure:
    under_way = f"in the phase {rollout.phase}" if rollout.phase else rollout.outcome
    return Failure(
        f"the {rollout.kind} of {rollout.model} in {rollout.slot} is still {under_way}",
        f"it goes on: mllm rollout status {rollout.slot}",
        exit=Exit.TIMED_OUT,
    )
