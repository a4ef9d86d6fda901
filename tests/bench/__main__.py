"""`python -m tests.bench` measures what mllm promises to keep within bounds.

Figures are mostly ratios to programs that do the same, run in turn with ours, so that they mean
the same on any machine. It leaves the figures of this run in build/bench.json, and ends with 0
when all of them could be taken, whether or not they are what they should be.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from tests.bench import downloads, log, rebuild, serving, sse, startup
from tests.bench.figures import Bound, Figure, Measurement
from tests.bench.report import table, taken, write

RESULT = Path("build", "bench.json")
REBUILD = Bound("rebuild jobs and weights / fetch loop", 0.4, "higher")


def rebuilding(runs: int) -> Iterator[Figure]:
    async def measured() -> Sequence[rebuild.Rates]:
        with TemporaryDirectory(prefix="mllm-bench-") as home:
            async with rebuild.servers(Path(home)) as (nats_url, database_url):
                return await rebuild.measure(nats_url, database_url, runs)

    rates = uvloop.run(measured())
    for rate in rates:
        print(f"    fetch {rate.fetched:9,.0f}/s  rebuild {rate.rebuilt:9,.0f}/s")
    yield REBUILD.figure(statistics.median(rate.ratio for rate in rates))


MEASUREMENTS = {
    measurement.name: measurement
    for measurement in (
        log.measurement,
        Measurement("rebuild", (REBUILD,), rebuilding),
        *downloads.MEASUREMENTS,
        sse.measurement,
        serving.measurement,
        startup.measurement,
    )
}


def known(name: str) -> Measurement:
    if name not in MEASUREMENTS:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(MEASUREMENTS)}")
    return MEASUREMENTS[name]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "measurements", nargs="*", type=known, metavar="NAME", help=", ".join(MEASUREMENTS)
    )
    parser.add_argument("--runs", type=int, default=5, help="of each program, for a median")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    figures: list[Figure] = []
    troubles: list[str] = []
    for measurement in options.measurements or MEASUREMENTS.values():
        print(f"{measurement.name}:", flush=True)
        found = taken(measurement, options.runs)
        figures += found.figures
        if found.trouble:
            troubles.append(f"{measurement.name}: {found.trouble}")
        write(figures, RESULT)
    print("", *table(figures), "", sep="\n")
    for trouble in troubles:
        print(f"not measured: {trouble}")
    broken = sum(not figure.holds for figure in figures)
    print(f"{len(figures) - broken} of {len(figures)} bounds hold; see {RESULT}")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
