"""What roles are made of, where that depends on whose servers they run on."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from cli.assembling import store_of
from cli.embedded.datadir import DataDir
from cli.embedded.process import myself
from cli.embedded.status import StackStatus
from cli.settings import Settings


@pytest.mark.parametrize("ours", [True, False])
def test_the_reserve_is_kept_where_log_and_database_are_if_that_is_here(
    tmp_path: Path, ours: bool
) -> None:
    (tmp_path / "run").mkdir()
    status = StackStatus(myself(), datetime.now(UTC), "nats://n", "postgresql://p", {})
    DataDir(tmp_path).status.write_bytes(msgspec.json.encode(status))
    settings = Settings(
        data_dir=tmp_path,
        weights_dir=tmp_path / "weights",
        database_url=status.database if ours else "",
    )

    assert store_of(settings).beside == ((tmp_path,) if ours else ())
