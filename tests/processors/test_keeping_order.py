"""What a verification makes of weights that change under it, and what a store sweeps away."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from processors.attempt import Attempt, Done, Failed, Hold, Result
from processors.ending import end
from processors.fetch import commit as place
from processors.fetch.layout import Layout, content
from processors.fetch.manifest import Manifest
from processors.store import Room, Store, StoreKeeper
from processors.verify import VerifyRunner
from schemas.job import FinishedFile, Job, ReportProgress, Seen
from schemas.live import Level, StoreBeat
from schemas.log import Outcome
from schemas.message import Command, Context, Rejected
from schemas.weights import RecordVerified
from tests.processors.fetch.fetching import always
from tests.support import PATIENCE, eventually

JOBS = ("01ARZ3NDEKTSV4RRFFQ69G5FA1", "01ARZ3NDEKTSV4RRFFQ69G5FA2")
EMPTY = FinishedFile("a.txt", 0, "blob-sha1", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")


class Log:
    """Grants every command, and remembers it; unless it refuses those that record something."""

    def __init__(self, refusal: Rejected | None = None) -> None:
        self.said: list[Command] = []
        self.refusal = refusal

    async def dispatch(self, command: Command, context: Context) -> Outcome:
        if isinstance(command, ReportProgress):
            return Outcome((), None)
        if self.refusal is not None:
            raise self.refusal
        self.said.append(command)
        return Outcome((), None)

    async def write(self, namespace: str, job: str, text: str, level: Level = "info") -> None:
        """Lines of the job's log are not looked at here."""


class Interrupted(Hold):
    """Lets something happen when it is looked at for the first time."""

    def __init__(self, happen: Callable[[], object]) -> None:
        super().__init__(lease=60)
        self.happen = [happen]

    def check(self) -> None:
        while self.happen:
            self.happen.pop()()
        super().check()


def install(layout: Layout, job: str) -> str:
    """Put an empty file where weights go, in place of any that are there; name its manifest."""
    staged = content(layout.attempt("default", job, 1))
    staged.mkdir(parents=True)
    (staged / EMPTY.path).touch()
    manifest = Manifest("org/model", "c" * 40, "main", job, (EMPTY,))
    sealed = place.seal(staged, manifest, always)
    place.commit(staged, layout.target("default", "t"), sealed, always, replace=True)
    return sealed


async def verified(root: Path, log: Log, hold: Hold) -> Result:
    job = Job("running", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "t", "default", attempt=1)
    context = Context(command="c", at=datetime.now(UTC), actor="w")
    attempt = Attempt(job, context, hold, log.dispatch, log)
    return await VerifyRunner(Store("default", root, 0)).run(attempt)


async def test_a_verification_says_which_manifest_it_compared_with(tmp_path: Path) -> None:
    log, sealed = Log(), install(Layout(tmp_path), JOBS[0])

    assert await verified(tmp_path, log, Hold(60)) == Done(0, 1)

    assert log.said == [RecordVerified("t", "01ARZ3NDEKTSV4RRFFQ69G5FAV", 1, 0, sealed)]


async def test_weights_that_are_replaced_while_they_are_read_are_looked_at_again(
    tmp_path: Path,
) -> None:
    log, layout = Log(), Layout(tmp_path)
    install(layout, JOBS[0])

    result = await verified(tmp_path, log, Interrupted(lambda: install(layout, JOBS[1])))

    assert isinstance(result, Failed)
    assert (result.code, result.retryable) == ("verification_failed", True)
    assert log.said == []


async def test_a_manifest_that_is_not_the_one_on_the_log_is_no_proof(tmp_path: Path) -> None:
    install(Layout(tmp_path), JOBS[0])

    result = await verified(tmp_path, Log(Rejected("conflict", "replaced")), Hold(60))

    assert isinstance(result, Failed)
    assert (result.code, result.retryable) == ("verification_failed", True)
    assert "manifest" in result.reason


class Beats:
    """Remembers what was said of stores."""

    def __init__(self) -> None:
        self.said: list[StoreBeat] = []

    async def say_store(self, beat: StoreBeat) -> None:
        self.said.append(beat)


async def nobody(namespace: str, job: str) -> Seen:
    return Seen(Job(), 0, None, "")


async def test_a_sweep_leaves_the_trash_where_others_are_about_to_put_something(
    tmp_path: Path,
) -> None:
    layout = Layout(tmp_path)
    (layout.trash / "left").mkdir(parents=True)
    staged = layout.attempt("default", JOBS[0], 1)
    staged.mkdir(parents=True)
    inode = layout.trash.stat().st_ino
    sweeping = asyncio.create_task(
        StoreKeeper(Store("default", tmp_path, 0), "w", Beats(), nobody).run()
    )

    async def swept() -> bool:
        return not staged.exists() and not any(layout.trash.iterdir())

    await eventually(swept)

    await end(sweeping)
    assert layout.trash.stat().st_ino == inode


def test_a_volume_is_as_good_as_full_while_the_log_has_less_than_the_reserve(
    tmp_path: Path,
) -> None:
    full = Path("/proc")  # a file system without any room

    assert Store("default", tmp_path, 1).room(tmp_path).free > 0
    assert Store("default", tmp_path, 1, beside=(full,)).room(tmp_path).free == 0
    assert Store("default", tmp_path, 0, beside=(full,)).room(tmp_path).free > 0


async def test_a_volume_that_does_not_answer_holds_up_nobody_else(tmp_path: Path) -> None:
    asked, answers, beats = threading.Event(), threading.Event(), Beats()

    def room(_: Path) -> Room:
        asked.set()
        if not answers.wait(PATIENCE):
            raise AssertionError("whoever would have it answer waits for it")
        return Room(total=10, free=5)

    async def is_asked() -> bool:
        return asked.is_set()

    async def said() -> bool:
        return [(beat.total, beat.free) for beat in beats.said] == [(10, 5)]

    keeper = StoreKeeper(Store("default", tmp_path, 0), "w", beats, nobody, room)
    keeping = asyncio.create_task(keeper.run())
    await eventually(is_asked)
    answers.set()
    await eventually(said)
    await end(keeping)
