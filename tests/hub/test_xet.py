"""A file in Xet storage can be had from there, and attempts to do so can be made to fail."""

import hashlib
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.loopback_hub import Source
from cli.loopback_hub.route import Kind
from tests.hub import About, Account, Hang, Hub, Refuse, Repo, generated
from tests.hub.command import HF, hf_environment, run_hf
from tests.hub.waiting import until
from tests.support import PATIENCE

TOKEN = "hf_of_ann"
FILES: Mapping[str, Source] = {
    "config.json": b"{}",
    "empty.bin": b"",
    "tiny.bin": b"tiny",
    "model.safetensors": generated(70_000_001),  # three xorbs, and a chunk that is not full
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(Repo("org/xet", FILES, About(xet=True)), accounts=[Account("ann", TOKEN)]) as hub:
        yield hub


def test_hf_rebuilds_files_from_xet_storage(hub: Hub, tmp_path: Path) -> None:
    environment = hf_environment(hub.url, tmp_path / "home", token=TOKEN, xet=True)

    done = run_hf(environment, "download", "org/xet", "--local-dir", str(tmp_path / "model"))

    assert done.returncode == 0, done.stderr
    for path, file in hub.repos["org/xet"].head.files.items():
        data = (tmp_path / "model" / path).read_bytes()
        assert len(data) == file.size
        assert file.sha256 in {None, hashlib.sha256(data).hexdigest()}
    assert not hub.recording.select("cdn")
    assert hub.recording.select("xorb")
    assert not any(exchange.carries(TOKEN) for exchange in hub.recording.select("cas", "xorb"))


def test_hf_gives_up_when_the_token_is_refused(hub: Hub, tmp_path: Path) -> None:
    refused = hub.faults.add(Refuse(status=403, kinds={"xet"}))
    environment = hf_environment(hub.url, tmp_path / "home", xet=True)

    done = run_hf(environment, "download", "org/xet", "tiny.bin", "--local-dir", str(tmp_path))

    assert done.returncode == 1
    assert refused.strikes > 0


@pytest.mark.parametrize("kind", ["xet", "cas", "xorb"])
def test_hf_hangs_when_a_part_of_xet_hangs(hub: Hub, tmp_path: Path, kind: Kind) -> None:
    hang = hub.faults.add(Hang(kinds={kind}))
    environment = hf_environment(hub.url, tmp_path / "home", xet=True)
    words = ["download", "org/xet", "tiny.bin", "--local-dir", str(tmp_path)]

    with subprocess.Popen([HF, *words], env=environment) as hanging:
        until(lambda: hang.strikes > 0)
        assert hanging.poll() is None
        hang.disarm()
        assert hanging.wait(PATIENCE) == 0

    assert (tmp_path / "tiny.bin").read_bytes() == b"tiny"
