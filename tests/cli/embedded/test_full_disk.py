"""A disk that was full and is freed needs no operator."""

import resource
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from cli.embedded.process import ProcessRecord
from cli.embedded.stack import Plan, Stack, Urls, open_stack
from tests.cli.embedded.standing import (
    ailment,
    append,
    appended,
    can_append,
    copied,
    insert,
    inserted,
    process_of,
)
from tests.support import eventually


async def test_a_nats_that_could_not_write_does_again_once_there_is_room(own_root: Path) -> None:
    full, asked = False, 0

    def free(_: Path) -> int:
        nonlocal asked
        asked += 1
        return 0 if full else 1 << 40

    async def asked_in_vain() -> bool:
        return asked >= 3 and stack.parts["nats"].restarts == 0

    with failing_writes_beyond_a_limit():
        async with open_stack(own_root, Plan(free=free)) as stack:
            full = True
            limit_file_size(process_of(stack, "nats"), 1_000_000)
            kept = await append_until_refused(own_root, stack.urls)
            limit_file_size(process_of(stack, "nats"), resource.RLIM_INFINITY)
            asked = 0
            await eventually(asked_in_vain)
            assert not await can_append(stack.urls)  # room alone does not cure it

            full = False

            await eventually(partial(started_again, stack))
            await append(stack.urls, b"more")
            assert stack.parts["nats"].restarts == 1
            assert await appended(stack.urls) == kept + 1


@contextmanager
def failing_writes_beyond_a_limit() -> Generator[None]:
    """Let a file size limit fail the write, as a full disk does, rather than kill the writer.

    Children inherit the blocked signal. A real full disk needs the right to mount one.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXFSZ])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGXFSZ])


def limit_file_size(process: ProcessRecord, limit: int) -> None:
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


async def append_until_refused(root: Path, urls: Urls) -> int:
    """Fill the stream; return how many messages it holds then."""
    while await ailment(root) is None:
        await can_append(urls, bytes(100_000))
    return await appended(urls)


async def started_again(stack: Stack) -> bool:
    nats = stack.parts["nats"]
    return nats.restarts > 0 and nats.state == "ready"


@pytest.mark.chaos
async def test_a_disk_that_was_full_and_is_freed_needs_no_operator(root: Path) -> None:
    with small_disk(root.parent / "disk") as disk:
        async with open_stack(copied(root, disk / "data"), Plan()) as stack:
            with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
                while True:
                    filler.write(bytes(1 << 16))
            kept = await append_until_refused(disk / "data", stack.urls)

            (disk / "filler").unlink()

            await eventually(partial(started_again, stack))
            await append(stack.urls, b"more")
            await insert(stack.urls, "more")
            assert stack.parts["nats"].restarts == 1
            assert await appended(stack.urls) == kept + 1
            assert await inserted(stack.urls) == ["first", "more"]


@contextmanager
def small_disk(place: Path) -> Generator[Path]:
    """A file system of 256 MiB, which only root can mount."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
