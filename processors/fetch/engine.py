"""The engine: moves the bytes of files from a Hub-compatible server into a staging directory.

A fetch is a number of streams, each a thread with its own connections, that take claims from the
schedule until every file is finished. One more thread keeps house: it watches the free space and
now and then makes what has arrived survive a crash of the machine. Whatever ends a fetch early
closes the gate; then everyone leaves, and `run` raises the reason.
"""

import errno
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from processors.fetch import takeover
from processors.fetch.errors import FetchFailed, Halted, NoSpace, Stopped
from processors.fetch.gate import Fence, Gate
from processors.fetch.hashing import Window
from processors.fetch.http import Connections
from processors.fetch.incoming import Incoming
from processors.fetch.layout import check_paths
from processors.fetch.limits import MIB, Bandwidth, Limits
from processors.fetch.progress import Progress
from processors.fetch.schedule import Schedule, Work
from processors.fetch.source import Opener, Source
from processors.fetch.staging import Staging
from processors.fetch.stream import Session, Stream
from processors.fetch.xet import Xet
from processors.fetch.xet_stream import XetStream
from schemas.job import FinishedFile
from schemas.plan import PlannedFile

LOOK_EVERY = 0.25  # seconds between two looks at the free space
SYNC_EVERY = 5.0  # seconds; or, if it comes earlier,
SYNC_BYTES = 256 * MIB


def free_bytes(directory: Path) -> int:
    """Bytes that we may still write on the file system of `directory`."""
    return shutil.disk_usage(directory).free


class Fetcher:
    """Fetches the files of one attempt into its staging directory, once.

    `fence` raises `Fenced` when the lease is lost; it is called before every write, from many
    threads. `say` takes lines for the job's log. `free` tells how many bytes the disk has left.
    With `xet`, big files that are in Xet storage are had from there, if that goes well.
    """

    def __init__(
        self,
        source: Source,
        directory: Path,
        fence: Fence,
        *,
        limits: Limits | None = None,
        progress: Progress | None = None,
        say: Callable[[str], None] = lambda line: None,
        free: Callable[[Path], int] = free_bytes,
        xet: Xet | None = None,
    ) -> None:
        self.progress = progress or Progress()
        self._source = source
        self._directory = directory
        self._limits = limits or Limits()
        self._say = say
        self._free = free
        self._xet = xet
        self._over = threading.Event()
        self._gate = Gate(fence, on_close=self._over.set)
        self._finished: dict[str, FinishedFile] = {}

    def run(self, files: Sequence[PlannedFile], earlier: Sequence[Path] = ()) -> list[FinishedFile]:
        """Fetch `files`, going on from what the `earlier` attempts' directories hold.

        Blocks until every file is in the staging directory with the right hash, and returns them
        in the order given. Raises the `FetchError` that kept it from that.
        """
        check_paths(file.path for file in files)
        try:
            self._run(files, earlier)
        except Halted:
            raise self._explained(self._gate.reason) from None
        except OSError as error:
            raise self._explained(error) from error
        return [self._finished[file.path] for file in files]

    def stop(self, reason: str) -> None:
        """Have `run` raise `Stopped`, once nothing is received or written any more."""
        self._gate.close(Stopped(reason))

    def _run(self, files: Sequence[PlannedFile], earlier: Sequence[Path]) -> None:
        self.progress.planned(len(files), sum(file.size for file in files))
        takeover.inherit(earlier, self._directory, self._gate)
        staging = Staging(self._directory, files, self._gate)
        try:
            for directory in earlier:
                takeover.copy(directory, staging)
            wanted = self._unfinished(files, staging)
            self._check_space(sum(file.size for file in wanted if not staging.known(file)))
            self._fetch(wanted, staging)
        finally:
            staging.close()

    def _unfinished(self, files: Sequence[PlannedFile], staging: Staging) -> list[PlannedFile]:
        """The files to fetch; those that an earlier attempt has finished are finished."""
        wanted: list[PlannedFile] = []
        for file in files:
            if (known := staging.known(file)) is not None and known.done:
                self._keep(file)
            else:
                wanted.append(file)
        return wanted

    def _fetch(self, wanted: Sequence[PlannedFile], staging: Staging) -> None:
        if not wanted:
            return
        window = Window(self._limits.window)

        def begin(file: PlannedFile) -> Incoming:
            parted = file.size > self._limits.part
            return Incoming(file, staging, self.progress, window, parted=parted)

        schedule = Schedule(self._limits, begin)
        streams = self._streams(wanted, schedule, staging)
        try:
            threading.Thread(target=self._keep_house, args=(staging,), daemon=True).start()
            for stream in streams:
                stream.start()
            self._over.wait()
            self._gate()
        except BaseException as error:
            self._gate.close(error)
            raise
        finally:
            schedule.close()
            for stream in streams:
                stream.leave()
            for incoming in schedule.opened():
                incoming.close()

    def _streams(
        self, wanted: Sequence[PlannedFile], schedule: Schedule, staging: Staging
    ) -> list[Stream | XetStream]:
        """As many as may be, but no more than there are parts to fetch."""
        schedule.expect(len(wanted))
        by_xet, by_http = self._divided(wanted, staging)
        schedule.add(by_http)
        session = Session(
            gate=self._gate,
            limits=self._limits,
            opener=Opener(self._source),
            bandwidth=Bandwidth(self._limits.bandwidth),
            schedule=schedule,
            progress=self.progress,
            say=self._say,
            settle=lambda work: self._settle(schedule, work),
        )
        tls = self._source.context()
        parts = sum(file.size // self._limits.part + 1 for file in wanted)
        streams: list[Stream | XetStream] = [
            Stream(session, Connections(self._limits, tls, self._gate))
            for _ in range(min(self._limits.streams, parts))
        ]
        if self._xet is not None and by_xet:
            finish = partial(self._finish, schedule)
            streams.append(XetStream(self._xet, by_xet, session, staging, finish))
        return streams

    def _divided(
        self, wanted: Sequence[PlannedFile], staging: Staging
    ) -> tuple[list[PlannedFile], list[PlannedFile]]:
        """The files to have from Xet, and the others: of those begun, a part is there already."""
        by_xet: list[PlannedFile] = []
        by_http: list[PlannedFile] = []
        for file in wanted:
            takes = self._xet is not None and self._xet.takes(file) and not staging.known(file)
            (by_xet if takes else by_http).append(file)
        return by_xet, by_http

    def _settle(self, schedule: Schedule, work: Work) -> None:
        file = work.incoming.file
        if work.incoming.settle():
            self._finish(schedule, file, work)
        else:
            self._say(f"{file.path}: the hash is wrong; fetching it once more")
            schedule.again(work)

    def _finish(self, schedule: Schedule, file: PlannedFile, work: Work | None = None) -> None:
        self._keep(file)
        if schedule.finish(work):
            self._over.set()

    def _keep(self, file: PlannedFile) -> None:
        finished = FinishedFile(file.path, file.size, file.algorithm, file.digest)
        self._finished[file.path] = finished
        self.progress.finished(finished)

    def _keep_house(self, staging: Staging) -> None:
        """Watch the free space, and now and then make all that has arrived survive a crash."""
        synced_at, synced = time.monotonic(), 0
        try:
            while not self._over.wait(LOOK_EVERY):
                self._check_space(0)
                grown = self.progress.network - synced
                due = grown and time.monotonic() - synced_at >= SYNC_EVERY
                if due or grown >= SYNC_BYTES:
                    synced += grown
                    staging.sync()
                    synced_at = time.monotonic()
        except Halted:
            pass
        except (OSError, NoSpace) as error:
            self._gate.close(error)

    def _check_space(self, needed: int) -> None:
        free, reserve = self._free(self._directory), self._limits.reserve
        if free - needed < reserve:
            raise NoSpace(needed or self._unwritten, free, reserve)

    @property
    def _unwritten(self) -> int:
        seen = self.progress.snapshot()
        return seen.total - seen.done

    def _explained(self, error: BaseException) -> BaseException:
        match error:
            case OSError(errno=errno.ENOSPC | errno.EDQUOT):
                free = self._free(self._directory)
                return NoSpace(self._unwritten, free, self._limits.reserve)
            case OSError():
                return FetchFailed(f"the disk fails: {error.strerror or error}")
            case _:
                return error
