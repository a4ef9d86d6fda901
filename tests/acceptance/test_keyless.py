"""Servers that share no disk, and no key: secrets are refused, and nothing else."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.acceptance.test_installing import assert_installed, fresh
from tests.hub import Hub
from tests.system import System, system


@pytest.fixture
def mllm(
    tmp_path: Path, nats_url: str, database_url: str, stream_prefix: str, hub: Hub
) -> Generator[System]:
    with system(
        tmp_path, nats_url, database_url, stream_prefix, hub.url, MLLM_SECRET_KEY=""
    ) as made:
        made.start()
        yield made


def test_without_a_key_secrets_are_refused_and_installs_go_on(mllm: System, hub: Hub) -> None:
    refused = mllm.call("PUT", "/secrets/hub", {"value": "hf_value"})
    assert (refused.status_code, refused.json()["code"]) == (503, "secrets_unavailable")
    assert "MLLM_SECRET_KEY" in refused.json()["remedy"]
    assert not (Path(mllm.env["MLLM_DATA_DIR"]) / "secrets").exists()

    repo = fresh(hub)
    mllm.until(mllm.install(repo.id)["job"]["id"])
    assert_installed(mllm, repo)
