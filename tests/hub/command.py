"""The real `hf` command, pointed at a hub of ours."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support import PATIENCE

HF = Path(sys.executable).with_name("hf")


def hf_environment(
    endpoint: str, home: Path, *, token: str | None = None, xet: bool = False
) -> Mapping[str, str]:
    """Nothing of the caller's own Hub settings, and nothing that leaves this machine."""
    environment = {
        "PATH": os.environ["PATH"],
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        # Whoever is slow is not given up, and asked again.
        "HF_HUB_ETAG_TIMEOUT": f"{PATIENCE:.0f}",
        "HF_HUB_DOWNLOAD_TIMEOUT": f"{PATIENCE:.0f}",
        "NO_COLOR": "1",
    }
    return environment | ({"HF_TOKEN": token} if token else {})


def run_hf(environment: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    limit = 2 * PATIENCE
    return subprocess.run(
        [HF, *words], env=environment, capture_output=True, text=True, timeout=limit
    )
