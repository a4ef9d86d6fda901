"""Servers are started once, watched, restarted, stopped with all that belongs to them."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import psutil
import pytest

from processors.driver import DriverUnavailable, Present
from processors.process import environment, holding, launch, starting
from processors.process.life import Manners
from processors.process.places import KEPT_LOGS
from schemas.manifest import ConfigMapKey, EngineArguments, EnvVar, SecretKey
from schemas.message import Rejected
from tests.processors.process.rig import (
    ACTIVATION,
    BRUSQUE,
    OTHER,
    Machine,
    instance,
    living,
    machine,
    present,
)
from tests.support import PATIENCE, eventually


@pytest.fixture
async def here(tmp_path: Path) -> AsyncGenerator[Machine]:
    async with machine(tmp_path) as made:
        yield made


@pytest.fixture
async def brusque(tmp_path: Path) -> AsyncGenerator[Machine]:
    async with machine(tmp_path, BRUSQUE) as made:
        yield made


async def refusal(here: Machine, **changes: object) -> Rejected:
    with pytest.raises(Rejected) as raised:
        await here.driver.ensure(instance(**changes))  # type: ignore[arg-type]  # as the caller says
    return raised.value


async def test_a_model_that_is_wanted_comes_to_answer(here: Machine) -> None:
    sight = await here.serves(instance())

    server = here.server()
    assert sight.url == f"http://127.0.0.1:{server.port}"
    assert sight.code == ""
    assert (sight.status.model, sight.status.activation) == ("tiny", ACTIVATION)
    assert (sight.status.replicas, sight.status.replicas_ready) == (1, 1)
    (pod,) = sight.status.pods
    assert (pod.name, pod.phase, pod.ready) == ("active-llm-abcdef", "Running", True)
    assert (pod.containers[0].state, pod.containers[0].restarts) == ("running", 0)
    assert os.getsid(server.pid) == server.pid


async def test_asking_again_starts_nothing_more(here: Machine) -> None:
    wanted = instance()
    await asyncio.gather(*(here.driver.ensure(wanted) for _ in range(5)))
    await here.serves(wanted)

    assert [process.pid for process in here.processes()] == [here.server().pid]
    assert await here.driver.present() == [present(wanted)]


async def test_a_server_that_loads_does_not_answer_yet(here: Machine, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    wanted = instance(env={"FAKE_LOADED": str(loaded)})

    loading = await here.comes_to(wanted, "loading")
    assert (loading.url, loading.status.replicas_ready) == ("", 0)
    loaded.touch()
    assert (await here.serves(wanted)).url


async def test_a_server_that_was_killed_is_started_again(here: Machine) -> None:
    wanted = instance()
    await here.serves(wanted)
    first = here.kill()

    await here.comes_to(wanted, "starting")
    sight = await here.serves(wanted)

    assert here.server().pid != first
    assert sight.status.pods[0].containers[0].restarts == 1
    assert sight.status.pods[0].containers[0].exit_code == 137


async def test_a_server_that_keeps_dying_has_failed_with_its_last_words(here: Machine) -> None:
    wanted = instance(env={"FAKE_DIE": "3"})
    sight = await here.comes_to(wanted, "failed")

    assert sight.code == "engine_failed"
    assert "exit code 3" in sight.status.message
    assert "no room for the model" in sight.status.message
    container = sight.status.pods[0].containers[0]
    assert (container.state, container.reason) == ("waiting", "CrashLoopBackOff")
    assert (container.exit_code, container.restarts) == (3, 3)


async def test_last_words_are_read_beside_the_event_loop(here: Machine) -> None:
    log, readers = str(here.place().log), set[threading.Thread]()

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]) == log:
            readers.add(threading.current_thread())

    sys.addaudithook(hear)
    await here.comes_to(instance(env={"FAKE_DIE": "3"}), "failed")

    assert readers
    assert threading.main_thread() not in readers


async def test_restarts_come_later_and_later(tmp_path: Path) -> None:
    manners = Manners(backoff=0.2, backoff_cap=60, poll=0.02)
    async with machine(tmp_path, manners) as here:
        wanted = instance(env={"FAKE_DIE": "1"})
        await here.comes_to(wanted, "failed")

        events = await here.workloads.events(
            "default", "active-llm", datetime.min.replace(tzinfo=UTC)
        )
        starts = [event.at for event in events if event.reason == "Started"]
        waits = [(b - a).total_seconds() for a, b in pairwise(starts)]
        assert len(waits) == 3
        assert all(wait > 0.16 * 2**nth for nth, wait in enumerate(waits))


async def test_the_next_supervisor_adopts_what_runs(here: Machine) -> None:
    wanted = instance()
    await here.serves(wanted)
    before = here.server()

    after = here.another()
    assert await after.present() == [present(wanted)]
    sight = await here.serves(wanted, after)

    assert here.server() == before
    assert sight.url.endswith(str(before.port))


async def test_an_adopted_server_that_dies_is_started_again(here: Machine) -> None:
    wanted = instance()
    await here.serves(wanted)
    after = here.another()
    await here.serves(wanted, after)
    first = here.kill()

    async def replaced() -> bool:
        await after.ensure(wanted)
        seen = holding.look(here.place()).server
        return seen is not None and seen.pid != first

    await eventually(replaced)


async def test_two_supervisors_at_once_start_one_server(here: Machine) -> None:
    wanted = instance()
    drivers = [here.another() for _ in range(4)]
    await asyncio.gather(*(driver.ensure(wanted) for driver in drivers))
    for driver in drivers:
        await here.serves(wanted, driver)

    async def alone() -> bool:
        return [process.pid for process in here.processes()] == [here.server().pid]

    await eventually(alone)


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe", b"[]", b'{"pid": "no"}', b'{"pid": 1}'])
async def test_a_damaged_record_is_mended_from_the_server_itself(
    here: Machine, garbage: bytes
) -> None:
    wanted = instance()
    await here.serves(wanted)
    before = here.server()
    here.place().record.write_bytes(garbage)

    await here.serves(wanted, here.another())

    assert holding.read(here.place()) == before


async def test_a_process_that_has_got_the_number_of_a_dead_server_is_left_alone(
    here: Machine,
) -> None:
    wanted = instance()
    await here.serves(wanted)
    server = here.server()
    here.kill()
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    forged = msgspec.structs.replace(server, pid=stranger.pid)

    async def free() -> bool:
        return not holding.is_held(here.place())

    await eventually(free)
    here.place().record.write_bytes(msgspec.json.encode(forged))
    after = here.another()

    await here.serves(wanted, after)
    await here.removed(wanted, after)

    assert stranger.returncode is None
    assert psutil.Process(stranger.pid).is_running()
    stranger.kill()
    await stranger.wait()


async def test_a_record_of_another_boot_is_nobodys(here: Machine) -> None:
    await here.serves(instance())
    server = here.server()

    assert holding.is_alive(server, here.place())
    assert not holding.is_alive(msgspec.structs.replace(server, boot="earlier"), here.place())
    assert not holding.is_alive(
        msgspec.structs.replace(server, started=server.started + 1), here.place()
    )


async def test_a_server_that_is_removed_goes_and_its_log_stays(here: Machine) -> None:
    wanted = instance()
    await here.serves(wanted)
    pid = here.server().pid

    await here.removed(wanted)

    assert not psutil.pid_exists(pid)
    assert await here.driver.present() == []
    assert [path.name for path in here.place().folder.iterdir()] == ["server.log"]
    assert await here.driver.remove(present(wanted))


async def test_removing_what_never_was_is_done_at_once(here: Machine) -> None:
    assert await here.driver.remove(Present("default", "active-llm", OTHER))


async def test_a_server_that_does_not_want_to_go_is_killed_after_its_grace(
    tmp_path: Path,
) -> None:
    async with machine(tmp_path, BRUSQUE) as here:
        wanted = instance(env={"FAKE_STUBBORN": "1"})
        await here.serves(wanted)
        loop = asyncio.get_running_loop()
        began = loop.time()

        assert not await here.driver.remove(present(wanted))
        await here.removed(wanted)

        assert loop.time() - began >= BRUSQUE.grace
        assert here.processes() == []


async def test_a_stopped_process_is_killed_too(brusque: Machine) -> None:
    wanted = instance()
    await brusque.serves(wanted)
    os.kill(brusque.server().pid, signal.SIGSTOP)

    await brusque.removed(wanted)


@pytest.mark.parametrize("astray", ["", "1"])
async def test_the_servers_children_go_with_it(here: Machine, astray: str) -> None:
    wanted = instance(env={"FAKE_WORKERS": "2", "FAKE_ASTRAY": astray})
    await here.serves(wanted)
    family = here.processes()
    assert len(family) == 3

    await here.removed(wanted)

    assert not living(family)


@pytest.mark.parametrize("astray", ["", "1"])
async def test_orphans_of_a_dead_server_are_gone_before_the_next_one(
    here: Machine, astray: str
) -> None:
    wanted = instance(env={"FAKE_WORKERS": "2", "FAKE_ASTRAY": astray})
    await here.serves(wanted)
    family = here.processes()
    after = here.another()  # of which nobody is a child
    await here.serves(wanted, after)
    here.kill()

    async def replaced() -> bool:
        await after.ensure(wanted)
        seen = holding.look(here.place()).server
        return seen is not None and seen.pid not in [process.pid for process in family]

    await eventually(replaced)
    assert not living(family)


async def test_a_port_that_somebody_else_has_is_given_up(brusque: Machine) -> None:
    """Whoever has it may even answer: a stranger's answer is not the model's."""
    wanted = instance()
    with socket.create_server(("127.0.0.1", 0)) as thief:
        port = thief.getsockname()[1]
        starting.prepare(brusque.place())
        facts = holding.Facts(port=port, health="/health")
        env = {
            "MLLM_INSTANCE": brusque.place().marker,
            launch.FACTS: msgspec.json.encode(facts).decode(),
        }
        recipe = await brusque.recipes(wanted)
        starting.spawn(brusque.place(), recipe.command(port), env)

        sight = await brusque.serves(wanted)

        assert not sight.url.endswith(f":{port}")


async def test_somebody_elses_answer_is_not_the_models(here: Machine) -> None:
    wanted = instance(env={"FAKE_LOAD": "60"})
    await here.comes_to(wanted, "loading")
    other = instance(OTHER)
    theirs = await here.serves(other)
    server = here.server()
    mistaken = msgspec.structs.replace(server, port=here.server(OTHER).port)
    here.place().record.write_bytes(msgspec.json.encode(mistaken))

    assert theirs.url
    assert (await here.driver.ensure(wanted)).url == ""


async def test_scaled_to_zero_it_is_kept_and_does_not_run(here: Machine) -> None:
    wanted, resting = instance(), instance(replicas=0)
    await here.serves(wanted)

    sight = await here.comes_to(resting, "absent")
    again = await here.driver.ensure(resting)

    assert sight.url == again.url == ""
    assert here.processes() == []
    assert await here.driver.present() == [present(wanted)]
    assert (await here.serves(wanted)).status.pods[0].containers[0].restarts == 0


async def test_a_server_is_idle_when_nobody_is_connected(here: Machine) -> None:
    wanted = instance()
    await here.serves(wanted)
    await eventually(lambda: here.driver.idle(wanted))  # our own question may still be open

    _, writer = await asyncio.open_connection("127.0.0.1", here.server().port)
    writer.write(b"GET /hold HTTP/1.1\r\n\r\n")

    async def busy() -> bool:
        return not await here.driver.idle(wanted)

    await eventually(busy)
    writer.close()
    await here.removed(wanted)
    assert await here.driver.idle(wanted)


async def test_a_server_that_hangs_is_degraded_until_it_answers_again(brusque: Machine) -> None:
    wanted = instance()
    await brusque.serves(wanted)
    os.kill(brusque.server().pid, signal.SIGSTOP)

    still = await brusque.driver.ensure(wanted)
    assert still.url, "one answer that is late changes nothing"
    hanging = await brusque.comes_to(wanted, "degraded")
    assert hanging.url == ""

    os.kill(brusque.server().pid, signal.SIGCONT)
    assert (await brusque.serves(wanted)).url


async def test_whoever_listens_hears_of_each_change(here: Machine) -> None:
    wanted = instance(env={"FAKE_LOAD": "0.5"})
    changes = here.driver.changes()
    await here.driver.ensure(wanted)

    async def until(health: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await here.driver.ensure(wanted)).status.health != health:
                assert await anext(changes) == ("default", "active-llm")

    await until("ready")
    here.kill()
    await until("starting")
    await until("ready")
    await here.driver.remove(present(wanted))


async def test_only_the_logs_of_the_last_few_are_kept(here: Machine) -> None:
    for number in range(KEPT_LOGS + 3):
        past = here.place(f"01JD00000000000000000000{number:02}")
        past.folder.mkdir(parents=True)
        past.log.write_text("words")
        os.utime(past.log, (number, number))
    wanted = instance()
    await here.serves(wanted)

    await here.removed(wanted)

    left = sorted(path.name for path in here.place().slot_folder.iterdir() if path.is_dir())
    assert len(left) == KEPT_LOGS
    assert ACTIVATION in left
    assert "01JD0000000000000000000000" not in left


async def test_a_directory_that_can_not_be_written_is_said(here: Machine) -> None:
    here.data.mkdir()
    (here.data / "runtime").write_text("in the way")

    with pytest.raises(DriverUnavailable, match=r"runtime.*Not a directory"):
        await here.driver.ensure(instance())


async def test_a_secret_is_in_the_environment_and_nowhere_else(here: Machine) -> None:
    await here.secrets.set("default", "hub", "s3cret")
    wanted = instance(variables=(EnvVar("HF_KEY", secret=SecretKey("hub")),))
    await here.serves(wanted)
    process = psutil.Process(here.server().pid)

    assert process.environ()["HF_KEY"] == "s3cret"
    assert "s3cret" not in " ".join(process.cmdline())
    files = [path for path in here.data.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if b"s3cret" in path.read_bytes()]


async def test_last_words_hold_no_secret(here: Machine) -> None:
    await here.secrets.set("default", "hub", "s3cret")
    variables = (EnvVar("FAKE_SAY", secret=SecretKey("hub")), EnvVar("FAKE_DIE", "1"))

    sight = await here.comes_to(instance(variables=variables), "failed")

    assert "s3cret" not in str(sight)


async def test_last_words_of_a_server_that_was_found_hold_no_secret(here: Machine) -> None:
    await here.secrets.set("default", "hub", "s3cret")
    variables = (EnvVar("FAKE_SAY", secret=SecretKey("hub")),)
    wanted = instance(variables=variables)
    await here.serves(wanted)
    await here.secrets.set("default", "hub", "another")
    finder = here.another()
    await here.serves(wanted, finder)
    here.kill()

    sight = await here.comes_to(wanted, "starting", finder)

    assert "serving" in sight.status.message
    assert "s3cret" not in str(sight)


async def test_a_server_finds_nothing_of_ours_around_it(
    here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLLM_API_TOKEN", "s3cret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    await here.serves(instance())

    found = psutil.Process(here.server().pid).environ()

    assert "MLLM_API_TOKEN" not in found
    assert found["CUDA_VISIBLE_DEVICES"] == "3"
    assert found["HF_HUB_OFFLINE"] == "1"


async def test_what_can_not_be_started_is_refused(here: Machine) -> None:
    unknown = await refusal(here, runtime="sglang")
    assert unknown.code == "unknown_engine"
    assert unknown.details["known"] == ["absent", "fake", "llamacpp", "vllm"]

    missing = await refusal(here, runtime="absent")
    assert missing.code == "engine_missing"
    assert "mllm-no-such-program" in str(missing.details["remedy"])

    assert (await refusal(here, target="elsewhere")).code == "weights_missing"
    extra = await refusal(here, engine=EngineArguments(extra=("--verbose",)))
    assert extra.code == "invalid_engine_arguments"


async def test_an_environment_that_a_process_can_not_have_is_refused(here: Machine) -> None:
    config = await refusal(here, variables=(EnvVar("A", config_map=ConfigMapKey("m", "k")),))
    assert config.code == "unsupported_by_runtime"
    secret = await refusal(here, variables=(EnvVar("A", secret=SecretKey("none")),))
    assert secret.code == "secret_not_found"
    assert (await refusal(here, env={"LD_PRELOAD": "/tmp"})).code == "invalid_environment"
    await here.secrets.set("default", "odd", "a\0b")
    odd = await refusal(here, variables=(EnvVar("A", secret=SecretKey("odd")),))
    assert odd.code == "invalid_environment"


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "HOME", "PYTHONPATH", "MLLM_INSTANCE", "GGML_BACKEND_PATH", "NCCL_NET_PLUGIN",
        "VLLM_LOGGING_CONFIG_PATH", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "TRITON_PTXAS_PATH",
        "CUDA_INJECTION64_PATH", "OMP_TOOL_LIBRARIES", "OPENSSL_CONF", "SSLKEYLOGFILE", "CC",
        "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "https_proxy", "LLAMA_API_KEY", "TMPDIR",
    ],
)  # fmt: skip
def test_a_manifest_does_not_decide_what_code_a_server_runs_or_what_it_reaches(name: str) -> None:
    manifest = instance(env={name: "x"}).served.manifest

    with pytest.raises(Rejected) as raised:
        environment.check(manifest)

    assert raised.value.code == "invalid_environment"


@pytest.mark.parametrize(
    "name",
    ["VLLM_LOGGING_LEVEL", "VLLM_ATTENTION_BACKEND", "PYTORCH_CUDA_ALLOC_CONF", "OMP_NUM_THREADS",
     "NCCL_DEBUG", "HF_TOKEN"],
)  # fmt: skip
def test_a_manifest_may_say_how_a_server_goes_about_it(name: str) -> None:
    environment.check(instance(env={name: "x"}).served.manifest)


async def test_a_running_server_is_not_asked_for_what_it_was_started_with(here: Machine) -> None:
    """Its secret may be gone and its engine uninstalled: it serves."""
    await here.secrets.set("default", "hub", "s3cret")
    wanted = instance(variables=(EnvVar("HF_KEY", secret=SecretKey("hub")),))
    await here.serves(wanted)
    await here.secrets.delete("default", "hub")

    assert (await here.serves(wanted, here.another())).status.health == "ready"
