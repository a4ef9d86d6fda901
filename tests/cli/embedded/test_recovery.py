"""Kills, strangers and full disks: the stack, or its next start, makes them good."""

import asyncio
import os
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL

import msgspec
import pytest

from cli.embedded.child import PartStatus
from cli.embedded.datadir import DataDir
from cli.embedded.process import ProcessRecord, is_alive, myself, record
from cli.embedded.stack import Plan, open_stack
from cli.embedded.status import StackStatus
from tests import servers
from tests.cli.embedded.standing import (
    ENV,
    ROOT,
    append,
    appended,
    insert,
    inserted,
    process_of,
    stand,
    standing,
    up,
)
from tests.support import eventually


@pytest.mark.parametrize(("killed", "other"), [("nats", "postgres"), ("postgres", "nats")])
async def test_a_killed_server_comes_back_with_its_data_while_the_other_runs_on(
    root: Path, killed: str, other: str
) -> None:
    async with open_stack(root, Plan()) as stack:
        victim, bystander = process_of(stack, killed), process_of(stack, other)

        os.kill(victim.pid, SIGKILL)

        async def back() -> bool:
            part = stack.parts[killed]
            return part.state == "ready" and part.process != victim

        await eventually(back)
        assert stack.parts[killed].restarts > 0
        assert process_of(stack, other) == bystander
        assert await appended(stack.urls) == 1
        assert await inserted(stack.urls) == ["first"]


async def test_what_is_killed_altogether_loses_nothing(root: Path) -> None:
    async with standing(root) as process:
        status = up(root)
        for part in status.parts.values():
            assert part.process is not None
            os.kill(part.process.pid, SIGKILL)
        process.kill()
    async with open_stack(root, Plan()) as stack:
        assert await appended(stack.urls) == 1
        assert await inserted(stack.urls) == ["first"]


async def test_servers_die_with_a_stack_that_is_killed(root: Path) -> None:
    async with standing(root) as process:
        parts = [part.process for part in up(root).parts.values() if part.process]
        assert len(parts) == 2
        assert all(is_alive(part) for part in parts)

        process.kill()

        async def gone() -> bool:
            return not any(is_alive(part) for part in parts)

        await eventually(gone)


async def test_what_outlived_the_last_stack_is_stopped(root: Path) -> None:
    with sleeping() as survivor:
        leave_behind(root, survivor)
        async with open_stack(root, Plan()):
            assert not is_alive(survivor)


@pytest.mark.parametrize("other", [{"started": 1.0}, {"argv": ("nats-server",)}])
async def test_a_stranger_with_a_leftover_process_id_is_let_be(
    root: Path, other: Mapping[str, object]
) -> None:
    with sleeping() as stranger:
        leave_behind(root, msgspec.structs.replace(stranger, **other))
        async with open_stack(root, Plan()):
            assert is_alive(stranger)


@contextmanager
def sleeping() -> Generator[ProcessRecord]:
    argv = ("sleep", "1000")
    process = subprocess.Popen(argv)
    try:
        yield record(process.pid, argv)
    finally:
        process.kill()
        process.wait()


def leave_behind(root: Path, process: ProcessRecord) -> None:
    """Write what a stack writes that had this process for a part, and was killed."""
    parts = {"gateway": PartStatus("ready", 0, process)}
    status = StackStatus(myself(), datetime.now(UTC), "", "", parts)
    DataDir(root).status.write_bytes(msgspec.json.encode(status))


async def test_a_lock_file_whose_process_id_was_given_away_does_not_stop_postgres(
    root: Path,
) -> None:
    (root / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    async with open_stack(root, Plan()) as stack:
        assert await inserted(stack.urls) == ["first"]


async def test_a_postgres_that_nobody_recorded_is_stopped(root: Path) -> None:
    unrecorded = await servers.postgres_server(root)
    await unrecorded.start()
    try:
        async with open_stack(root, Plan()) as stack:
            assert await inserted(stack.urls) == ["first"]
    finally:
        unrecorded.kill()


async def test_a_database_half_made_is_made_again(scratch: Path) -> None:
    half = scratch / "postgres.new-0"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    async with open_stack(scratch, Plan()) as stack:
        await insert(stack.urls, "kept")
    assert not half.exists()


@pytest.mark.chaos
async def test_a_start_killed_at_any_moment_is_made_good_by_the_next(scratch: Path) -> None:
    for attempt in range(30):
        root = scratch / f"data{attempt}"
        process = await asyncio.create_subprocess_exec(*stand(root, None), cwd=ROOT, env=ENV)
        await asyncio.sleep(0.3 + 0.05 * attempt)
        process.kill()
        await process.wait()
        async with open_stack(root, Plan()) as stack:
            await append(stack.urls, b"first")
            await insert(stack.urls, "first")
