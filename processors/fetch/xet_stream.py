"""The stream that has its files from Xet storage, and hands them to the others if that fails."""

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from processors.fetch.errors import Halted, XetFailed
from processors.fetch.hashing import STEP, new_hash
from processors.fetch.staging import Staging
from processors.fetch.stream import Session
from processors.fetch.xet import Xet
from processors.fetch.xet_lines import Order, Ordered
from schemas.plan import PlannedFile


class XetStream(threading.Thread):
    """`settle` is called with each file whose hash is right."""

    def __init__(
        self,
        xet: Xet,
        files: Sequence[PlannedFile],
        session: Session,
        staging: Staging,
        settle: Callable[[PlannedFile], None],
    ) -> None:
        super().__init__(name="xet", daemon=True)
        self._xet = xet
        self._left = {file.path: file for file in files}
        self._session = session
        self._staging = staging
        self._settle = settle
        self._home = staging.directory / "xet"

    def run(self) -> None:
        """Whatever else than the child goes wrong, ends the fetch."""
        try:
            self._fetch()
        except Halted:
            pass
        except BaseException as error:  # the thread that waits for us raises it
            self._session.gate.close(error)

    def leave(self) -> None:
        """Wait until the child is gone and nothing is written any more, its gate closed."""
        self.join()

    def _fetch(self) -> None:
        session, count = self._session, len(self._left)
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir()
        try:
            for file in self._xet.fetch(self._order(), self._home, session.gate, session.progress):
                self._admit(self._left[file.path], Path(file.destination))
        except XetFailed as failure:
            session.say(f"Xet: {failure}")
        finally:
            shutil.rmtree(self._home, ignore_errors=True)
        if self._left:
            session.say(f"fetching {len(self._left)} of {count} Xet files over HTTP instead")
            for path in self._left:
                session.progress.abandoned(path)
            session.schedule.add(self._left.values())

    def _order(self) -> Order:
        source = self._session.opener.source
        files = enumerate(self._left.values())
        return Order(
            endpoint=source.endpoint,
            repo=source.repo,
            commit=source.commit,
            token=source.token,
            files=tuple(
                Ordered(file.path, file.size, str(self._home / str(number)))
                for number, file in files
            ),
        )

    def _admit(self, file: PlannedFile, path: Path) -> None:
        if self._digest(file, path) != file.digest:
            self._session.say(f"Xet: {file.path} has the wrong hash")
            return
        fd = self._staging.receive(file, path)
        try:
            self._staging.finish(file, fd)
        finally:
            os.close(fd)
        del self._left[file.path]
        self._settle(file)

    def _digest(self, file: PlannedFile, path: Path) -> str:
        hash = new_hash(file.algorithm, file.size)
        with path.open("rb", buffering=0) as stream:
            while data := stream.read(STEP):
                self._session.gate()
                self._session.progress.working()
                hash.update(data)
        return hash.hexdigest()
