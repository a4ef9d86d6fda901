"""Taking measurements, and saying what came of all of them: nothing is left out in silence."""

import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.bench.figures import Figure, Measurement, NotMeasured

SIGNS = {"higher": "≥", "lower": "≤"}


class Taken(NamedTuple):
    """A figure for each bound of a measurement, and why those without a value have none."""

    figures: Sequence[Figure]
    trouble: str = ""


def taken(measurement: Measurement, runs: int) -> Taken:
    """Make a measurement. Whatever it raises becomes its `trouble`."""
    figures: list[Figure] = []
    trouble = ""
    try:
        figures.extend(measurement.take(runs))
    except NotMeasured as error:
        trouble = str(error)
    except Exception as error:  # it must not keep the other measurements from being made
        traceback.print_exc()
        trouble = repr(error)
    named = {figure.name for figure in figures}
    missing = [bound for bound in measurement.bounds if bound.name not in named]
    if missing and not trouble:
        trouble = "it did not say"
    return Taken([*figures, *(bound.figure(None) for bound in missing)], trouble)


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """Lines for people."""
    width = max(len(figure.name) for figure in figures)
    yield f"{'':{width}}  {'value':>8}  {'bound':>9}"
    for figure in figures:
        shown = "-" if figure.value is None else f"{figure.value:.3g}"
        bound = f"{SIGNS[figure.better]} {figure.bound:g}"
        yield f"{figure.name:{width}}  {shown:>8}  {bound:>9}  {figure.unit:6}  {verdict(figure)}"


def verdict(figure: Figure) -> str:
    if figure.value is None:
        return "NOT MEASURED"
    return "holds" if figure.holds else "DOES NOT HOLD"


def write(figures: Iterable[Figure], path: Path) -> None:
    """Leave the figures for programs, as a list in JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(list(figures))) + b"\n")
