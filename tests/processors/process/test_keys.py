"""Each server has a key of its own, which whoever shares the data directory can tell."""

from datetime import UTC, datetime
from pathlib import Path

import psutil

from processors.process import keys, places
from processors.process.keys import EngineKeys
from schemas.live import Endpoint
from tests.processors.process.rig import ACTIVATION, OTHER, instance, machine


def endpoint(activation: str = ACTIVATION, namespace: str = "default") -> Endpoint:
    return Endpoint(namespace, "active-llm", activation, "tiny", "http://x", datetime.now(UTC))


def test_every_instance_has_another_key(tmp_path: Path) -> None:
    mine = EngineKeys(tmp_path)

    known = {mine(endpoint()), mine(endpoint(OTHER)), mine(endpoint(namespace="team"))}

    assert len(known) == 3
    assert all(len(key) == 64 for key in known)
    assert EngineKeys(tmp_path)(endpoint()) in known


def test_the_secret_is_its_owners_alone(tmp_path: Path) -> None:
    EngineKeys(tmp_path)(endpoint())

    [secret] = places.runtime(tmp_path).iterdir()
    assert secret.stat().st_mode & 0o777 == 0o600
    assert EngineKeys(tmp_path / "other")(endpoint()) != EngineKeys(tmp_path)(endpoint())


def test_what_is_no_process_of_ours_has_no_key(tmp_path: Path) -> None:
    assert EngineKeys(tmp_path)(endpoint("../x")) == ""


async def test_a_server_finds_its_key_in_its_environment_and_nowhere_else(tmp_path: Path) -> None:
    async with machine(tmp_path) as here:
        await here.serves(instance())
        process = psutil.Process(here.server().pid)
        key = EngineKeys(here.data)(endpoint())

        assert {process.environ()[name] for name in keys.NAMES} == {key}
        assert key not in " ".join(process.cmdline())
        files = [path for path in here.data.rglob("*") if path.is_file()]
        assert not [path for path in files if key.encode() in path.read_bytes()]
