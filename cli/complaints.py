"""How a failure is told: one line of cause, what stands behind it, one line of remedy, and the
request's id, on stderr."""

import difflib
import os
import sys
import traceback
from collections.abc import Sequence

from cli.failures import Failure, Misused
from cli.tables import printable


def complain(failure: Failure) -> int:
    """Tell it. Returns the exit code."""
    _say("error", failure.cause)
    for line in failure.lines:
        print(f"  {printable(line)}", file=sys.stderr)
    if failure.remedy:
        _say("remedy", failure.remedy)
    if failure.request_id:
        _say("request id", failure.request_id)
    return int(failure.exit)


def misuse(cause: str, word: str, known: Sequence[str], otherwise: str = "") -> Misused:
    """A command line that can not be read. The nearest of `known` is the remedy."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return Misused(cause, f"did you mean {close[0]!r}?")
    text = cause[:1].lower() + cause[1:].rstrip(".")
    return Misused(text, otherwise or f"use one of: {', '.join(known)}")


def unexpected(error: Exception) -> Failure:
    """A mistake of ours: its text may hold anything, so it is not shown unless asked for."""
    if os.environ.get("MLLM_DEBUG", "").lower() in ("1", "true"):
        traceback.print_exception(error)
    return Failure(f"internal error ({type(error).__name__})", "run it again with MLLM_DEBUG=1")


def _say(what: str, text: str) -> None:
    line = printable(" ".join(text.split()))
    strong = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    shown = f"\x1b[1;31m{what}:\x1b[0m" if strong and what == "error" else f"{what}:"
    print(shown, line, file=sys.stderr)
