"""`python -m tests.hub` serves directories and generated models until it is told to stop.

The first line it prints is the address to set `HF_ENDPOINT` to.
"""

import argparse
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.hub import About, Hub, HubSettings, Repo, generated


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=int, help="bytes per second on each connection")
    parser.add_argument("--xet", action="store_true", help="offer generated models by Xet too")
    parser.add_argument("--root", type=Path, help="serve every directory ORG/NAME below this one")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="ORG/NAME=COUNTxSIZE",
        help="serve a model of COUNT generated files of SIZE bytes",
    )
    return parser.parse_args()


def generated_model(described: str, about: About) -> Repo:
    id, _, shape = described.partition("=")
    count, size = (int(number) for number in shape.split("x"))
    names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    return Repo(id, {name: generated(size, seed) for seed, name in enumerate(names)}, about)


def models_below(root: Path) -> Iterator[Repo]:
    for directory in sorted(root.glob("*/*/")):
        files = {
            path.relative_to(directory).as_posix(): path
            for path in directory.rglob("*")
            if path.is_file()
        }
        yield Repo(directory.relative_to(root).as_posix(), files)


def main() -> None:
    options = arguments()
    stopping = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # before threads start, who inherit it
    about = About(xet=options.xet)
    repos = [generated_model(described, about) for described in options.model]
    if options.root:
        repos += models_below(options.root)
    settings = HubSettings(api_port=options.port, bytes_per_second=options.rate)
    with Hub(*repos, settings=settings) as hub:
        print(hub.url, flush=True)
        signal.sigwait(stopping)


main()
