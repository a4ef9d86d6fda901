"""`python -m tests.processors.fetch.once ENDPOINT REPO COMMIT STREAMS DIRECTORY [EARLIER …]`.

One attempt in a process of its own, so that it can be killed. It reads the files to fetch as JSON
on stdin and prints `done` when they are there.
"""

import sys
from pathlib import Path

import msgspec

from processors.fetch.engine import Fetcher
from processors.fetch.limits import Limits
from processors.fetch.source import Source
from schemas.plan import PlannedFile
from tests.processors.fetch.fetching import always


def main() -> None:
    endpoint, repo, commit, streams, directory, *earlier = sys.argv[1:]
    files = msgspec.json.decode(sys.stdin.buffer.read(), type=list[PlannedFile])
    source = Source(endpoint, repo, commit)
    limits = Limits(streams=int(streams), reserve=0, stall=600)  # tests say how long it is held
    fetcher = Fetcher(source, Path(directory), always, limits=limits)
    fetcher.run(files, [Path(path) for path in earlier])
    print("done", flush=True)


if __name__ == "__main__":
    main()
