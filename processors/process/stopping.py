"""Ending every served model of a data directory, for whoever takes all of mllm down."""

import signal
import time
from pathlib import Path

from processors.process.holding import is_held, known_leader, members, send
from processors.process.places import Place, runtime, wanted

PAUSE = 0.05
KILLING = 5.0


def stop_all(data_dir: Path, grace: float = 15.0) -> list[str]:
    """Stop what is served, gently first; returns the names of what had to be stopped.

    What is wanted stays wanted: the next `mllm up` serves it again. Supervisors have to be gone by
    now, or they start everything again. Raises `OSError`, and `TimeoutError` for what survives.
    """
    found = [place for place in wanted(runtime(data_dir)) if _lives(place)]
    for word, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, KILLING)):
        left = [place for place in found if _lives(place)]
        for place in left:
            send(word, members(place, known_leader(place)))
        if _wait(left, patience):
            break
    else:
        names = ", ".join(place.pod for place in found if _lives(place))
        raise TimeoutError(f"these processes do not end: {names}")
    for place in found:
        place.record.unlink(missing_ok=True)
    return [place.pod for place in found]


def _wait(places: list[Place], patience: float) -> bool:
    """Whether all are gone before `patience` seconds are over."""
    deadline = time.monotonic() + patience
    while True:
        late = time.monotonic() > deadline  # asked first: we may not have run since the last look
        if not any(_lives(place) for place in places):
            return True
        if late:
            return False
        time.sleep(PAUSE)


def _lives(place: Place) -> bool:
    return is_held(place) or bool(members(place))
