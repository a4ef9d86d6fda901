"""The hub as a process of its own, as benches run it."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.hub import generated
from tests.support import PATIENCE


def test_it_serves_directories_and_generated_models_until_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "org" / "kept" / "deep").mkdir(parents=True)
    (tmp_path / "org" / "kept" / "deep" / "notes.txt").write_text("found")
    words = ["--root", str(tmp_path), "--model", "org/made=2x1000"]
    command = [sys.executable, "-m", "tests.hub", *words]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        url = serving.stdout.readline().strip()
        with httpx.Client(base_url=url, follow_redirects=True, timeout=PATIENCE) as client:
            kept = client.get("/org/kept/resolve/main/deep/notes.txt")
            made = client.get("/org/made/resolve/main/model-00002-of-00002.safetensors")
            serving.send_signal(signal.SIGTERM)
        assert serving.wait(PATIENCE) == 0

    assert kept.text == "found"
    assert made.headers["etag"] == f'"{generated(1000, seed=1).sha256}"'
