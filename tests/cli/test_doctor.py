import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from cli import doctor
from cli.config import write_context
from schemas.api.runtime import SlotRow, StatusRow
from schemas.status import Health
from tests.cli.fake_gateway import TOKEN, FakeGateway
from tests.cli.support import CommandLine


def levels(mllm: CommandLine) -> dict[str, str]:
    checks = msgspec.json.decode(mllm("doctor", "-o", "json").out)["items"]
    return {check["name"]: check["level"] for check in checks}


def test_where_nothing_is_wrong_every_check_is_ok(gateway: FakeGateway, mllm: CommandLine) -> None:
    write_context("local", gateway.url, TOKEN)

    outcome = mllm("doctor")

    found = levels(mllm)
    del found["disk"]  # this machine's
    assert set(found.values()) == {"ok"}
    assert {"config file", "settings", "data directory", "server", "clock", "access"} <= set(found)
    assert "REMEDY" in outcome.out


@pytest.mark.parametrize(
    ("ahead", "took", "level"), [(0, 20, "ok"), (60, 0, "warn"), (60, 20, "warn")]
)
def test_a_clock_is_off_by_more_than_an_answer_takes(
    gateway: FakeGateway,
    mllm: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    ahead: float,
    took: float,
    level: str,
) -> None:
    asked = time.time() + ahead
    clock = iter((asked, asked + took))
    monkeypatch.setattr(doctor, "time", SimpleNamespace(time=lambda: next(clock)))

    assert levels(mllm)["clock"] == level


def test_a_config_file_that_others_can_read_has_to_be_changed(
    gateway: FakeGateway, mllm: CommandLine
) -> None:
    path = write_context("local", gateway.url, TOKEN)
    path.chmod(0o640)

    outcome = mllm("doctor")

    assert outcome.code == 1
    assert f"chmod 600 {path}" in outcome.out


def test_a_server_that_is_away_is_one_line(
    home: Path, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_SERVER", "http://127.0.0.1:1")

    outcome = mllm("doctor")

    assert outcome.code == 1
    assert "mllm up" in outcome.out
    assert levels(mllm)["server"] == "fail"


def test_a_token_that_is_not_known_is_found_out(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_TOKEN", "mllm_wrong_wrong")

    assert levels(mllm)["access"] == "fail"


def test_a_part_that_is_down_is_named(gateway: FakeGateway, mllm: CommandLine) -> None:
    gateway.ready = False

    found = levels(mllm)

    assert (found["nats"], found["postgres"]) == ("ok", "fail")


def test_a_data_directory_of_someone_else_is_found_out(
    gateway: FakeGateway, home: Path, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("MLLM_DATA_DIR", str(home / "file"))

    assert levels(mllm)["data directory"] == "fail"


def test_a_disk_without_its_reserve_is_found_out(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_DISK_RESERVE", "1000TiB")

    assert levels(mllm)["disk"] == "fail"


def test_a_malformed_setting_is_found_out(
    gateway: FakeGateway, mllm: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_PORT", "eighty")

    assert levels(mllm)["settings"] == "fail"


def test_a_slot_that_does_not_serve_is_found_out(gateway: FakeGateway, mllm: CommandLine) -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    for slot in ("well", "dead", "slow", "none"):
        gateway.slots.append(
            SlotRow("default", slot, "serving", 9, now, "llama", 7, "A", replicas=1)
        )
    gateway.slots.append(SlotRow("default", "failed", "failed", 9, now))
    gateway.slots.append(SlotRow("default", "idle", "idle", 9, now))
    health: dict[str, Health] = {"well": "ready", "dead": "failed", "slow": "degraded"}
    for slot, how in health.items():
        gateway.statuses.append(
            StatusRow(health=how, namespace="default", slot=slot, position=9, updated_at=now)
        )

    found = levels(mllm)

    assert found["slot well"] == "ok"
    assert (found["slot dead"], found["slot none"]) == ("fail", "fail")
    assert (found["slot slow"], found["slot failed"]) == ("warn", "warn")
    assert "slot idle" not in found
    assert "mllm runtime diagnose dead" in mllm("doctor").out
