"""Slots from a terminal, against the gateway itself; the test is the activator."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from ulid import ULID

from commands.looking import seen_slot, slot_history
from schemas.checks import Check
from schemas.runtime import (
    CompleteActivation,
    CompleteDeactivation,
    EnterPhase,
    FailActivation,
    Phase,
    StartActivation,
)
from schemas.status import ContainerStatus, Health, PodStatus, RecordStatus, SlotStatus
from tests.cli.test_against_the_gateway import Shell
from tests.gateway.rig import gateway
from tests.gateway.worlds import warning
from tests.support import eventually

SLOT = "active-llm"
PODS = (
    PodStatus("llama-0", "Pending", reason="ImagePullBackOff"),
    PodStatus("llama-1", "Running", ready=True, containers=(ContainerStatus("main", "running"),)),
)


@pytest.fixture
async def mllm(
    nats_url: str, stream_prefix: str, database_url: str, tmp_path: Path
) -> AsyncGenerator[Shell]:
    """Two models over the same weights."""
    async with gateway(nats_url, stream_prefix, tmp_path, database_url) as rig:
        await rig.install("org/model")
        await rig.register("llama")
        await rig.register("mistral")
        yield Shell(rig, tmp_path)


async def wanted(mllm: Shell) -> str:
    """The id of the activation, or the deactivation, that is under way, once there is one."""
    found = ""

    async def there() -> bool:
        nonlocal found
        history = await slot_history(mllm.rig.log, "default", SLOT)
        state = seen_slot("default", history).state
        if state.flight is not None:
            found = state.flight.served.id
        elif state.deactivation is not None:
            found = state.deactivation.id
        return found != ""

    await eventually(there)
    return found


async def fly(mllm: Shell, id: str, *phases: Phase) -> None:
    """Enter phases, half a second after each other."""
    await mllm.rig.say(StartActivation(SLOT, id, "worker"))
    for number, phase in enumerate(phases):
        await mllm.rig.say(EnterPhase(SLOT, id, phase, number * 500))


async def land(mllm: Shell, id: str) -> None:
    phases: tuple[Phase, ...] = ("switch", "drain", "remove")
    for phase in phases:
        await mllm.rig.say(EnterPhase(SLOT, id, phase, 2000))
    await mllm.rig.say(CompleteActivation(SLOT, id, 2500))


async def see(
    mllm: Shell, health: Health, ready: int, replicas: int, pods: Sequence[PodStatus] = PODS
) -> None:
    status = SlotStatus(
        health, "llama", replicas=replicas, replicas_ready=ready, gpus=1, pods=tuple(pods)
    )
    await mllm.rig.say(RecordStatus(SLOT, status))


async def test_an_activation_is_followed_through_its_phases(mllm: Shell) -> None:
    doing = await mllm.start("runtime", "activate", "llama", "--watch", "--progress", "plain")
    id = await wanted(mllm)
    await fly(mllm, id, "prepare", "load")
    await land(mllm, id)
    out, err = (text.decode() for text in await doing.communicate())

    assert doing.returncode == 0, err
    assert out.splitlines()[1].split()[:3] == [SLOT, "serving", "llama"]
    said = err.splitlines()
    assert said[0] == "activate llama in active-llm: pending"
    assert "activate llama in active-llm: load, after prepare took 500ms" in said
    assert said[-1] == "activate llama in active-llm: completed, after 2.5s"


@pytest.mark.parametrize(("code", "exit"), [("timed_out", 8), ("engine_failed", 10)])
async def test_one_that_fails_exits_by_its_code_and_says_who_serves_on(
    mllm: Shell, code: str, exit: int
) -> None:
    await mllm.rig.serve("mistral")
    doing = await mllm.start("runtime", "switch", "llama", "--wait")
    id = await wanted(mllm)
    await fly(mllm, id, "start")
    why = "the engine ended:\nloading\nno memory"
    await mllm.rig.say(FailActivation(SLOT, id, code, why, 700, "start"))
    _, err = await doing.communicate()

    assert doing.returncode == exit
    assert b"failed: the engine ended; mistral serves on\n  loading\n  no memory\nremedy: " in err
    assert b"mllm runtime diagnose active-llm" in err
    again = await mllm("rollout", "status")
    assert again.code == exit


async def test_a_rollout_can_be_named_by_its_model(mllm: Shell) -> None:
    await mllm.rig.serve("mistral")

    named = await mllm("rollout", "status", "mistral", "-o", "name")

    assert (named.code, named.out) == (0, f"slot/{SLOT}\n")


async def test_a_model_in_several_slots_names_none_of_them(mllm: Shell) -> None:
    await mllm.rig.serve("mistral")
    await mllm("runtime", "activate", "mistral", "--slot", "other")

    named = await mllm("rollout", "status", "mistral")

    assert named.code == 2
    assert f"name a slot: {SLOT}, other" in named.err


async def test_who_comes_second_is_told_who_is_at_it(mllm: Shell) -> None:
    await mllm("runtime", "activate", "llama")
    refused = await mllm("runtime", "activate", "mistral", "--wait")

    assert refused.code == 5
    assert "activating llama in active-llm" in refused.err
    assert "mllm runtime rollback active-llm" in refused.err


async def test_what_serves_already_needs_nothing(mllm: Shell) -> None:
    await mllm.rig.serve("llama")
    again = await mllm("runtime", "activate", "llama", "--wait")

    assert again.code == 0
    assert again.out.splitlines()[1].split()[:3] == [SLOT, "serving", "llama"]


@pytest.mark.parametrize(
    ("health", "exit", "said"),
    [("ready", 0, ""), ("failed", 1, "llama is to serve in active-llm, and is failed")],
)
async def test_what_starts_anew_is_waited_for_where_nothing_else_is_to_be_done(
    mllm: Shell, health: Health, exit: int, said: str
) -> None:
    served = await mllm.rig.serve("llama")
    await mllm.rig.say(RecordStatus(SLOT, SlotStatus("loading", "llama", served)))
    waiting = await mllm.start("runtime", "activate", "llama", "--wait")
    assert waiting.stderr is not None
    assert b"is activated in active-llm already" in await waiting.stderr.readline()

    await mllm.rig.say(RecordStatus(SLOT, SlotStatus(health, "llama", served)))

    _, err = await waiting.communicate()
    assert waiting.returncode == exit
    assert said in err.decode()


async def test_who_was_taken_down_for_a_candidate_is_said_to_be_brought_back(mllm: Shell) -> None:
    await mllm.rig.serve("mistral")
    doing = await mllm.start("runtime", "activate", "llama", "--wait")
    id = await wanted(mllm)
    await fly(mllm, id, "stop", "start")
    await mllm.rig.say(FailActivation(SLOT, id, "engine_failed", "no memory", 700, "start"))
    _, err = await doing.communicate()

    assert b"failed: no memory; mistral is brought back\n" in err


async def test_what_is_not_there_is_not_found(mllm: Shell) -> None:
    unknown = await mllm("runtime", "activate", "lama")
    assert (unknown.code, "did you mean 'llama'?" in unknown.err) == (3, True)
    assert "mllm runtime status" in (await mllm("runtime", "rollback")).err
    assert (await mllm("runtime", "deactivate", "--yes")).code == 3
    assert (await mllm("runtime", "status", "none")).code == 3
    assert (await mllm("rollout", "status", "none")).code == 3


async def test_a_model_that_can_not_serve_is_refused_with_its_checks(mllm: Shell) -> None:
    mllm.rig.checks.found = (Check("engine", "fail", "no engine takes it", "use another"),)
    refused = await mllm("runtime", "activate", "llama")

    assert refused.code == 1
    assert "  fail engine: no engine takes it (use another)\n" in refused.err


async def test_a_candidate_waits_and_is_promoted(mllm: Shell) -> None:
    await mllm.rig.serve("mistral")
    holding = await mllm.start("runtime", "switch", "llama", "--hold", "--wait")
    id = await wanted(mllm)
    await fly(mllm, id, "start", "load", "ready")
    out, err = await holding.communicate()
    promoting = await mllm.start("models", "promote", "llama", "--current", "mistral", "--wait")

    async def promoted() -> bool:
        row = (await mllm.rig.get("/runtime", slot=SLOT))["items"][0]
        return not row["candidate"]["waiting"]

    await eventually(promoted)
    await land(mllm, id)
    done, _ = await promoting.communicate()

    assert holding.returncode == 0
    assert b"llama (waits to be promoted)" in out
    assert b"mllm runtime promote llama --slot active-llm" in err
    assert promoting.returncode == 0
    assert done.splitlines()[1].split()[:3] == [b"active-llm", b"serving", b"llama"]


async def test_ctrl_c_only_detaches(mllm: Shell) -> None:
    doing = await mllm.start("runtime", "activate", "llama", "--watch", "--progress", "json")
    assert doing.stderr is not None
    await doing.stderr.readline()
    doing.send_signal(signal.SIGINT)
    _, err = await doing.communicate()

    assert doing.returncode == 130
    assert b"Attach again: mllm rollout status active-llm" in err
    assert (await mllm.json("runtime", "status"))["items"][0]["slot"]["state"] == "activating"


async def test_an_activation_under_way_is_followed_and_given_up(mllm: Shell) -> None:
    id = await mllm.rig.activate("llama")
    following = await mllm.start("rollout", "status", "--progress", "json")
    assert following.stderr is not None
    await following.stderr.readline()
    await fly(mllm, id, "start")
    given_up = await mllm("runtime", "rollback", "--wait")
    _, err = await following.communicate()

    assert given_up.code == 0, given_up.err
    assert following.returncode == 11
    assert b"was given up" in err


async def test_patience_ends_and_the_activation_goes_on(mllm: Shell) -> None:
    await mllm.rig.activate("llama")
    waited = await mllm("rollout", "status", "--timeout", "0.5s")

    assert waited.code == 8
    assert "is still pending" in waited.err


async def test_a_slot_is_left_and_gone_back_to(mllm: Shell) -> None:
    await mllm.rig.serve("llama")
    leaving = await mllm.start("runtime", "deactivate", "--wait")
    await mllm.rig.say(CompleteDeactivation(SLOT, await wanted(mllm)))
    out, _ = await leaving.communicate()
    returning = await mllm.start("runtime", "rollback", "--wait", "-o", "json")
    id = await wanted(mllm)
    await fly(mllm, id, "start")
    await land(mllm, id)
    back, err = await returning.communicate()

    assert leaving.returncode == 0
    assert out.splitlines()[1].split()[:3] == [b"active-llm", b"idle", b"-"]
    assert returning.returncode == 0, err
    assert msgspec.json.decode(back)["slot"]["model"] == "llama"


async def test_an_activation_that_is_over_is_not_given_up_nor_what_it_led_to(mllm: Shell) -> None:
    await mllm.rig.serve("llama")
    await mllm.rig.serve("mistral")

    late = await mllm("runtime", "rollback", "--activation", str(ULID()))

    assert late.code == 5
    assert "is over; mistral serves in active-llm" in late.err


async def test_replicas_of_what_was_replaced_are_waited_for_no_more(mllm: Shell) -> None:
    await mllm.rig.register("wide", replicas={"min": 1, "max": 3})
    await mllm.rig.serve("wide")
    await see(mllm, "ready", 1, 1)
    scaling = await mllm.start("runtime", "scale", "2", "--watch")
    assert scaling.stderr is not None
    await scaling.stderr.readline()
    await mllm.rig.serve("llama")
    _, err = await scaling.communicate()

    assert scaling.returncode == 5
    assert b"llama serves in active-llm by now" in err


async def test_replicas_are_waited_for(mllm: Shell) -> None:
    await mllm.rig.register("wide", replicas={"min": 1, "max": 3})
    await mllm.rig.serve("wide")
    await see(mllm, "ready", 1, 1)
    scaling = await mllm.start("runtime", "scale", "2", "--watch")
    assert scaling.stderr is not None
    first = await scaling.stderr.readline()
    await see(mllm, "ready", 2, 2)
    out, _ = await scaling.communicate()
    late = await mllm("runtime", "scale", "3", "--wait", "--timeout", "0.2s")

    assert first == b"scale active-llm to 2: 1 of 1 ready\n"
    assert (scaling.returncode, b"2/2" in out) == (0, True)
    assert late.code == 8
    many = await mllm("runtime", "scale", "4")
    assert (many.code, "replicas.max" in many.err) == (2, True)
    assert (await mllm("runtime", "scale", "-1")).code == 2


async def test_slots_are_listed_with_what_is_seen_of_them(mllm: Shell) -> None:
    await mllm.rig.serve("llama")
    await see(mllm, "degraded", 1, 2)
    id = await mllm.rig.activate("mistral", strategy="blue-green")
    await fly(mllm, id, "load")

    async def told() -> bool:
        listed = (await mllm.rig.get("/models/status"))["items"]
        return bool(listed)

    await eventually(told)
    listed = (await mllm("runtime", "status")).out.splitlines()[1]
    text = (await mllm("runtime", "status", SLOT)).out

    assert listed.split()[:7] == [
        SLOT, "activating", "llama", "degraded", "1/2", "mistral", "(load)",
    ]  # fmt: skip
    assert "1 of 2 ready" in text
    assert "ImagePullBackOff" in text
    assert "mistral (version" in text
    assert "/serve/active-llm/v1" in text


async def test_a_watched_list_shows_what_becomes_of_a_slot(mllm: Shell) -> None:
    await mllm.rig.serve("llama")
    watching = await mllm.start("runtime", "status", "--watch", "-o", "json")
    assert watching.stdout is not None
    first = msgspec.json.decode(await watching.stdout.readline())
    await see(mllm, "ready", 1, 1)
    then = msgspec.json.decode(await watching.stdout.readline())
    watching.terminate()
    await watching.communicate()

    assert (first["status"], then["status"]["health"]) == (None, "ready")


async def told(mllm: Shell) -> None:
    """Until the read model knows how the slot was seen to be."""

    async def there() -> bool:
        return bool((await mllm.rig.get("/models/status"))["items"])

    await eventually(there)


async def test_logs_are_those_of_the_pod_that_is_ready(mllm: Shell) -> None:
    mllm.rig.world.lines = {"llama-0": [b"waiting\n"], "llama-1": [b"one\n", b"\x1b[31mtwo\x07\n"]}
    await mllm.rig.serve("llama")
    await see(mllm, "ready", 1, 2)
    await told(mllm)
    chosen = await mllm("runtime", "logs", "--tail", "1")
    named = await mllm("runtime", "logs", "llama-0")
    unknown = await mllm("runtime", "logs", "llama-9")

    assert chosen.out == "two\N{REPLACEMENT CHARACTER}\n"
    assert "there is also: llama-0" in chosen.err
    assert named.out == "waiting\n"
    assert unknown.code == 3


async def test_logs_are_followed_until_interrupted(mllm: Shell) -> None:
    mllm.rig.world.lines = {"llama-0": [b"one\n"]}
    following = await mllm.start("runtime", "logs", "llama-0", "-f")
    assert following.stdout is not None
    assert await following.stdout.readline() == b"one\n"
    following.send_signal(signal.SIGINT)
    await following.communicate()

    assert following.returncode == 130


async def followed(mllm: Shell) -> asyncio.subprocess.Process:
    """The logs of a slot, followed, whose only pod has just ended."""
    mllm.rig.world.lines = {"llama-0": [b"one\n"], "mistral-0": [b"two\n"]}
    mllm.rig.world.over = {"llama-0"}
    await mllm.rig.serve("llama")
    await see(mllm, "ready", 1, 1, [PodStatus("llama-0", "Running", ready=True)])
    await told(mllm)
    following = await mllm.start("runtime", "logs", "-f")
    assert following.stdout is not None
    assert following.stderr is not None
    assert await following.stdout.readline() == b"one\n"
    assert b"llama-0 ended; waiting for what is next" in await following.stderr.readline()
    return following


async def test_logs_of_a_slot_go_on_with_the_model_that_takes_over(mllm: Shell) -> None:
    following = await followed(mllm)
    id = await mllm.rig.serve("mistral")
    pod = PodStatus("mistral-0", "Running", ready=True, activation=id)
    await see(mllm, "ready", 1, 1, [pod])

    assert following.stdout is not None
    assert await following.stdout.readline() == b"two\n"
    following.send_signal(signal.SIGINT)
    _, err = await following.communicate()

    assert following.returncode == 130
    assert b"the logs of llama-0 ended; here are those of mistral-0" in err


async def test_logs_of_a_slot_end_with_a_word_when_nothing_runs_there_any_more(
    mllm: Shell,
) -> None:
    following = await followed(mllm)
    await mllm("runtime", "deactivate")
    await mllm.rig.say(CompleteDeactivation(SLOT, await wanted(mllm)))
    _, err = await following.communicate()

    assert following.returncode == 0
    assert err == b"the logs of llama-0 ended: nothing runs in active-llm any more\n"


async def test_what_happened_is_listed(mllm: Shell) -> None:
    await mllm.rig.serve("llama")
    mllm.rig.world.happened = {SLOT: [warning("BackOff", "it falls over")]}
    listed = await mllm.json("runtime", "events", "--since", "10m")
    watching = await mllm.start("runtime", "events", "-w", "-o", "json")
    assert watching.stdout is not None
    first = msgspec.json.decode(await watching.stdout.readline())
    watching.terminate()
    await watching.communicate()

    reasons = [event["reason"] for event in listed["items"]]
    assert reasons[0] == first["reason"] == "model.activation.requested"
    assert "BackOff" in reasons
    assert datetime.fromisoformat(listed["items"][0]["at"]) <= datetime.now(UTC)


async def test_what_is_wrong_is_told_and_fails(mllm: Shell) -> None:
    await mllm.rig.serve("llama")
    await see(mllm, "ready", 1, 1)
    id = await mllm.rig.activate("mistral")
    await mllm.rig.say(FailActivation(SLOT, id, "engine_died", "out of memory", 10))
    wrong = await mllm("runtime", "diagnose")

    assert wrong.code == 1
    assert "out of memory" in wrong.out


async def test_a_stream_that_breaks_off_is_taken_up_again(mllm: Shell) -> None:
    id = await mllm.rig.activate("llama")
    following = await mllm.start("rollout", "status", "--progress", "json")
    assert following.stderr is not None
    await following.stderr.readline()
    connections = mllm.rig.app.state.connections

    async def listening() -> bool:
        return len(connections) == 1

    await eventually(listening)
    connections.end_all()
    await fly(mllm, id, "start", "load")
    await land(mllm, id)
    _, err = await following.communicate()

    told = [msgspec.json.decode(line) for line in err.splitlines()]
    assert following.returncode == 0
    phases = [one["phase"] for one in told]
    assert [phase for phase in phases if phase][:2] == ["start", "load"]
    assert told[-1]["outcome"] == "completed"
