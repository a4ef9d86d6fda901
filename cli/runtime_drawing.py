"""An activation's progress as text: one line for a log, a few lines for a terminal, JSON."""

from collections.abc import Sequence

import msgspec

from cli.display import Look
from cli.drawing import clipped
from cli.evidence import headed
from cli.quantities import duration
from cli.runtime_progress import Rollout
from cli.tables import coloured, printable, width


def headline(rollout: Rollout) -> str:
    """What it is about: `activate llama-3-8b in active-llm`."""
    verb = "activate" if rollout.kind == "activation" else "deactivate"
    return printable(f"{verb} {rollout.model} in {rollout.slot}")


def state(rollout: Rollout) -> str:
    """The phase while it runs, else the outcome."""
    if rollout.waiting:
        return "ready"
    if rollout.outcome == "running":
        return rollout.phase or "started"
    return {"rolledback": "rolled back"}.get(rollout.outcome, rollout.outcome)


def plain(rollout: Rollout, seconds: float) -> str:
    """A line for a log: `load, after start took 1.2s`, and when that is said, `load, for 10s`."""
    said = f"{state(rollout)}, for {duration(seconds)}" if seconds else ", ".join(_news(rollout))
    return f"{headline(rollout)}: {printable(said)}"


def screen(rollout: Rollout, seconds: float, columns: int, colour: bool) -> Sequence[str]:
    """A line for each phase that is over, and one for the phase that began `seconds` ago."""
    word = state(rollout)
    title = clipped(headline(rollout), columns - width(word) - 2)
    lines = [f"  {phase.phase:<9}{seconds_of(phase.ms):>8}" for phase in rollout.phases]
    if rollout.phase and not rollout.ended:
        waits = "  waits to be promoted" if rollout.waiting else ""
        lines.append(f"  {rollout.phase:<9}{duration(seconds):>8}{waits}")
    if rollout.note:
        lines.append(f"  {printable(rollout.note)}")
    below = [clipped(line, columns) for line in lines]
    return [f"{title}  {coloured(word) if colour else word}", *below]


def seconds_of(ms: int) -> str:
    """`120ms`, `1.2s`, `2m30s`."""
    if ms < 1000:
        return f"{ms}ms"
    return f"{ms / 1000:.1f}s" if ms < 60_000 else duration(ms / 1000)


def _news(rollout: Rollout) -> list[str]:
    words = [state(rollout)]
    if rollout.waiting:
        words.append("waits to be promoted")
    elif rollout.outcome == "running" and rollout.phases:
        last = rollout.phases[-1]
        words.append(f"after {last.phase} took {seconds_of(last.ms)}")
    if rollout.outcome == "completed" and rollout.ms:
        words.append(f"after {seconds_of(rollout.ms)}")
    if rollout.ended and rollout.message:
        words.append(headed(rollout.message)[0])
    return [*words, rollout.note] if rollout.note else words


ROLLOUT = Look[Rollout](
    news=lambda rollout: (rollout.outcome, rollout.phase, rollout.waiting, rollout.note),
    plain=plain,
    document=lambda rollout: msgspec.json.encode(rollout).decode(),
    screen=screen,
)
