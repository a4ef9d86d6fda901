"""`mllm runtime`: which model serves in which slot, and how it does."""

from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from cli.exits import Exit
from cli.nearest import known_models
from cli.parameters import Duration, Everywhere, Model, Moment, Patience, SlotName
from cli.rollout import fetch_slot, follow_through
from cli.runtime_logs import Asked, print_logs
from cli.runtime_looking import print_events, print_slot, print_slots
from cli.runtime_rows import diagnosis_text
from cli.runtime_scaling import scaled_to_the_end
from cli.session import Here, Session, Watching
from schemas.api.runtime import (
    ActivateBody,
    Diagnosis,
    PromoteBody,
    RollbackBody,
    RuntimeAccepted,
    ScaleBody,
    SlotBody,
)
from schemas.runtime import DEFAULT_SLOT, Strategy

app = App(name="runtime", help="Have models serve, and see how they do.")

GRACE_SECONDS = 60.0
"""How much longer than an activation may take its end is waited for."""

Wait = Annotated[bool, Parameter(help="Wait until it is done, and exit by how it ended.")]
Limit = Annotated[
    Duration,
    Parameter(help="It has failed if it takes longer (90s); 10m unless given.", show_default=False),
]


@app.command
def status(
    slot: SlotName | None = None,
    *,
    as_of: Moment | None = None,
    all_namespaces: Everywhere = False,
    watch: Watching,
    session: Here,
) -> None:
    """Show what serves in which slot; or all about one.

    Parameters
    ----------
    slot
        Only this slot, with its pods or processes.
    as_of
        As things stood at a time (2026-11-01T12:00Z) or at a position (seq:4711).
    """
    if slot is not None and not watch:
        print_slot(session, slot, as_of)
    else:
        print_slots(session, slot, as_of, all_namespaces=all_namespaces, watch=watch)


@app.command
def activate(
    model: Model,
    /,
    *,
    slot: SlotName = DEFAULT_SLOT,
    strategy: Strategy = "direct",
    preempt: bool = False,
    hold: bool = False,
    timeout: Limit = 600.0,
    wait: Wait = False,
    watch: Watching,
    session: Here,
) -> int:
    """Let MODEL serve in a slot, in the stead of who serves there now.

    Parameters
    ----------
    model
        A model's id, or an alias.
    slot
        Which slot.
    strategy
        direct: replace the current one in its place. blue-green: bring the new one up beside it,
        and switch once it answers.
    preempt
        Take the current one down first, if its GPUs are needed; bring it back on failure.
    hold
        Once it answers, wait to be promoted.
    """
    body = ActivateBody(model, slot, strategy, preempt, hold, timeout)
    return _activate(session, body, wait=wait, watch=watch)


@app.command
def switch(
    model: Model,
    /,
    *,
    slot: SlotName = DEFAULT_SLOT,
    hold: bool = False,
    timeout: Limit = 600.0,
    wait: Wait = False,
    watch: Watching,
    session: Here,
) -> int:
    """Let MODEL take over in a slot without a request failing: activate, blue-green.

    Parameters
    ----------
    model
        A model's id, or an alias.
    slot
        Which slot.
    hold
        Once it answers, wait to be promoted.
    """
    body = ActivateBody(model, slot, "blue-green", hold=hold, timeout_seconds=timeout)
    return _activate(session, body, wait=wait, watch=watch)


@app.command
def deactivate(
    slot: SlotName = DEFAULT_SLOT,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], show=False)] = False,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Let nothing serve in SLOT any more.

    It does not ask, with or without --yes: `mllm runtime rollback` brings back what served.

    Parameters
    ----------
    slot
        Which slot.
    """
    return follow_through(session, _send(session, "deactivate", SlotBody(slot)), patience, watch)


@app.command
def promote(
    model: Model | None = None,
    /,
    *,
    slot: SlotName = DEFAULT_SLOT,
    current: str | None = None,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Let the candidate that waits in a slot serve.

    Parameters
    ----------
    model
        The candidate; whoever waits there, unless said.
    slot
        Which slot.
    current
        Only if this model serves there now.
    """
    if model is None:
        candidate = fetch_slot(session.gateway, slot).candidate
        model = candidate.model if candidate is not None else ""
    body = PromoteBody(model, current, slot)
    return follow_through(session, _send(session, "promote", body), patience, watch)


@app.command
def rollback(
    slot: SlotName = DEFAULT_SLOT,
    *,
    activation: str | None = None,
    strategy: Strategy = "blue-green",
    timeout: Limit = 600.0,
    wait: Wait = False,
    watch: Watching,
    session: Here,
) -> int:
    """Give up the activation under way in SLOT; or go back to what served before.

    Parameters
    ----------
    slot
        Which slot.
    activation
        Only if this activation is under way there.
    strategy
        How to go back.
    """
    accepted = _send(session, "rollback", RollbackBody(slot, strategy, timeout, activation))
    return follow_through(session, accepted, Patience(wait, timeout + GRACE_SECONDS), watch)


@app.command
def scale(
    replicas: Annotated[int, Parameter(validator=Number(gte=0))],
    /,
    *,
    slot: SlotName = DEFAULT_SLOT,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    watch: Watching,
    session: Here,
) -> int:
    """Change how many replicas serve in a slot.

    Parameters
    ----------
    replicas
        How many.
    slot
        Which slot.
    """
    accepted = _send(session, "scale", ScaleBody(replicas, slot))
    if patience.wait or watch:
        return scaled_to_the_end(session, accepted.slot, replicas, patience.deadline(), shown=watch)
    return follow_through(session, accepted, patience, False)


@app.command
def logs(
    pod: str | None = None,
    /,
    *,
    slot: SlotName = DEFAULT_SLOT,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"])] = False,
    tail: int = 200,
    container: Annotated[str, Parameter(name=["--container", "-c"])] = "",
    session: Here,
) -> None:
    """Print what a pod, or a process, writes.

    Parameters
    ----------
    pod
        Its name; the one that is in the slot, unless said.
    slot
        Which slot.
    follow
        Stay, and print what comes; of a slot, also from who serves there next.
    tail
        Begin with this many of the last lines.
    container
        Which of its containers.
    """
    print_logs(session, pod, slot, Asked(follow, tail, container))


@app.command
def events(
    slot: SlotName | None = None,
    *,
    since: Duration = 3600.0,
    stay: Annotated[bool, Parameter(name="-w", help="The same as --watch.")] = False,
    watch: Watching,
    session: Here,
) -> None:
    """List what happened to slots, as the log and the world they run in tell it.

    Parameters
    ----------
    slot
        Only this slot.
    since
        How far back (10m, 2h).
    """
    print_events(session, slot, since, watch=watch or stay)


@app.command
def diagnose(slot: SlotName = DEFAULT_SLOT, *, session: Here) -> int:
    """Say what is wrong with SLOT, what shows it, and what to do. Fails if something is.

    Parameters
    ----------
    slot
        Which slot.
    """
    found = session.gateway.get("/runtime/diagnose", Diagnosis, slot=slot)
    text = diagnosis_text(found, colour=session.printer.colour)
    session.printer.value(found, text, f"slot/{found.slot}")
    return Exit.OK if found.healthy else Exit.FAILED


def _activate(session: Session, body: ActivateBody, *, wait: bool, watch: bool) -> int:
    with known_models(session.gateway, body.model_id):
        accepted = _send(session, "activate", body)
    patience = Patience(wait, body.timeout_seconds + GRACE_SECONDS)
    return follow_through(session, accepted, patience, watch)


def _send(session: Session, verb: str, body: object) -> RuntimeAccepted:
    return session.gateway.send("POST", f"/runtime/{verb}", RuntimeAccepted, body)
