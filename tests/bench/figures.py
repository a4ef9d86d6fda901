"""What a bench says: figures, each beside the bound that it must keep."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

Better: TypeAlias = Literal["higher", "lower"]


class NotMeasured(Exception):
    """A measurement cannot be made here. The text says why, and what to do about it."""


class Figure(msgspec.Struct, frozen=True):
    """One line of a report. Without a value it was not measured, and its bound does not hold."""

    name: str
    value: float | None
    unit: str
    bound: float
    better: Better
    holds: bool


class Bound(NamedTuple):
    """What is promised: the most a figure may be, or the least when higher is better."""

    name: str
    bound: float
    better: Better = "lower"
    unit: str = "ratio"

    def figure(self, value: float | None) -> Figure:
        holds = value is not None and self._kept_by(value)
        return Figure(self.name, value, self.unit, self.bound, self.better, holds)

    def _kept_by(self, value: float) -> bool:
        return value >= self.bound if self.better == "higher" else value <= self.bound


class Measurement(NamedTuple):
    """Several figures that are taken together.

    `take` is told how many runs to make of everything, and yields the figures of `bounds`, each
    as soon as it is known. It may raise anything; what it has not yielded was not measured.
    """

    name: str
    bounds: Sequence[Bound]
    take: Callable[[int], Iterator[Figure]]


def median_ratio(pairs: Iterable[tuple[float, float]]) -> float:
    """The median of the first by the second of each pair: what slows a machine down slows both."""
    return statistics.median(one / other for one, other in pairs)


def in_turn(runs: int, **programs: Callable[[int], float]) -> dict[str, list[float]]:
    """Call programs one after the other, `runs` times; what each has answered, in order.

    Each is told the number of the run, from 0. What they answer is printed as it comes.
    """
    answers: dict[str, list[float]] = {name: [] for name in programs}
    for run in range(runs):
        for name, program in programs.items():
            answers[name].append(program(run))
        latest = "  ".join(f"{name} {answers[name][-1]:8.3f}" for name in programs)
        print(f"    {run + 1}/{runs}  {latest}", flush=True)
    return answers


def paired(answers: dict[str, list[float]], one: str, other: str) -> float:
    """The median ratio of two of the programs that were called in turn."""
    return median_ratio(zip(answers[one], answers[other], strict=True))


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes, by the clock on the wall."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
