"""What is wrong with a slot, from what is known of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gateway.diagnosis import Known, diagnose, healthy
from gateway.signs import CODES, READ_LOG
from schemas.api.runtime import CandidateRow, Drift, Failure, Finding, SlotRow
from schemas.checks import Check
from schemas.status import Condition, ContainerStatus, PodStatus, SlotStatus
from schemas.workloads import WorldEvent

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
IDLE = SlotRow("default", "active-llm", "idle", 1, NOW)
SERVING = msgspec.structs.replace(
    IDLE, state="serving", model="small", activation="01A", replicas=1, since=NOW
)
COMING = CandidateRow(
    "01B", "big", 7, "org/big", "default", "b", "blue-green", "me", NOW, worker="w"
)
ACTIVATING = msgspec.structs.replace(SERVING, state="activating", candidate=COMING)
READY = SlotStatus("ready", "small", "01A", replicas=1, replicas_ready=1)
LOADING = SlotStatus("loading", "small", "01A", replicas=1)


def failed(code: str, message: str = "it ended") -> SlotRow:
    failure = Failure("01B", "big", code, message, NOW)
    return msgspec.structs.replace(IDLE, state="failed", failure=failure)


def found(slot: SlotRow, status: SlotStatus = READY, *log: str, **more: Any) -> list[Finding]:
    known = Known(slot, status, NOW + timedelta(seconds=10), log=log)
    return list(diagnose(known._replace(**more)))


def test_a_slot_that_serves_well_has_no_findings() -> None:
    assert found(SERVING) == []


def test_an_empty_slot_is_healthy_and_says_how_to_fill_it() -> None:
    [finding] = found(IDLE, SlotStatus())
    assert (finding.severity, healthy([finding])) == ("info", True)
    assert "mllm runtime activate" in finding.remedy


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "GPU's memory"),
        ("ggml_backend_cuda_buffer failed to allocate buffer of size 1", "GPU's memory"),
        ("ValueError: max seq len is larger than the maximum number of tokens", "context"),
        ("No available memory for the cache blocks", "context"),
        ("terminate called: std::bad_alloc", "machine's memory"),
        ("llama_model_load: error: unknown model architecture: 'new'", "architecture"),
        ("Model architectures ['X'] are not supported for now", "architecture"),
        ("Please pass the argument trust_remote_code=True", "code of its own"),
        ("OSError: [Errno 98] address already in use", "port"),
        ("OSError: No space left on device", "disk"),
        ("gguf_init_from_file: failed to open GGUF file 'm.gguf'", "weights"),
        ("PermissionError: Permission denied: '/models/x'", "may not be read"),
    ],
)
def test_a_line_of_the_log_gives_the_cause_away(line: str, problem: str) -> None:
    worst = found(SERVING, LOADING, "harmless", line)[0]
    assert worst.severity == "error"
    assert problem in worst.problem
    assert worst.evidence == (line,)
    assert worst.remedy


@pytest.mark.parametrize(
    ("reason", "message", "problem"),
    [
        ("Unschedulable", "0/3 nodes: 3 Insufficient nvidia.com/gpu", "GPUs free"),
        ("Unschedulable", "0/3 nodes: 1 Insufficient memory", "memory or CPU"),
        ("Unschedulable", "1 node(s) had untolerated taint {gpu: true}", "no machine may"),
        ("ImagePullBackOff", "Back-off pulling image", "image"),
        ("CreateContainerConfigError", 'secret "hf" not found', "secret"),
        ("FailedMount", "MountVolume.SetUp failed", "volume"),
        ("OOMKilled", "", "machine's memory"),
        ("NodeNotReady", "node-1: no network", "does not answer any more"),
    ],
)
def test_a_pods_reason_gives_the_cause_away(reason: str, message: str, problem: str) -> None:
    pod = PodStatus("p-1", "Pending", reason=reason, message=message)
    findings = found(SERVING, msgspec.structs.replace(LOADING, pods=(pod,)))
    assert any(problem in one.problem and one.severity == "error" for one in findings)
    assert any(one.problem == f"p-1 is {reason}" for one in findings)


def test_what_the_cluster_and_its_conditions_say_counts_as_well() -> None:
    event = WorldEvent(NOW, "warning", "FailedMount", "no such claim", "pod/p")
    condition = Condition("Ready", "False", "ErrImagePull", "not found")
    status = msgspec.structs.replace(LOADING, conditions=(condition,))
    problems = " ".join(one.problem for one in found(SERVING, status, events=(event,)))
    assert "volume" in problems
    assert "image" in problems


def test_an_old_line_of_a_log_says_nothing_while_all_is_well() -> None:
    assert found(SERVING, READY, "CUDA out of memory") == []


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_known_code_comes_with_its_meaning_and_a_remedy(code: str) -> None:
    findings = found(failed(code), SlotStatus())
    [failure] = [one for one in findings if CODES[code][0] in one.problem]
    remedy = CODES[code][1].replace(
        READ_LOG, "see what happened (`mllm runtime events active-llm`)"
    )
    assert (failure.severity, failure.remedy) == ("error", remedy)
    assert code in failure.evidence[0]


def test_a_code_that_nobody_knows_is_shown_as_it_was_said() -> None:
    [failure] = found(failed("odd", "the moon was full"), SlotStatus())
    assert "the moon was full" in failure.problem


def test_the_remedy_that_shows_a_log_names_the_pod_that_wrote_it() -> None:
    other, mine = PodStatus("small-0", "Running", activation="01A"), PodStatus("big-0", "Failed")
    of_big = msgspec.structs.replace(mine, activation="01B")
    slot = msgspec.structs.replace(SERVING, failure=failed("engine_failed").failure)
    [failure] = found(slot, logged=(other, of_big))
    assert failure.remedy == "look at its log (`mllm runtime logs big-0`)"
    [down] = found(SERVING, SlotStatus("failed"), logged=(of_big, other))
    assert down.remedy == "look at its log (`mllm runtime logs small-0`)"


def test_a_failure_while_another_serves_is_a_warning() -> None:
    slot = msgspec.structs.replace(SERVING, failure=failed("engine_failed").failure)
    assert [one.severity for one in found(slot)] == ["warning"]


def test_one_that_is_to_serve_and_does_not_is_an_error() -> None:
    [finding] = found(SERVING, SlotStatus("absent"))
    assert finding.severity == "error"
    [finding] = found(SERVING, msgspec.structs.replace(READY, health="degraded", replicas_ready=0))
    assert (finding.severity, finding.evidence) == ("warning", ("0 of 1 replicas are ready",))


def test_one_that_is_scaled_to_nothing_is_meant_to_be() -> None:
    slot = msgspec.structs.replace(SERVING, replicas=0)
    assert healthy(found(slot, SlotStatus("absent")))


def test_containers_that_end_are_told_with_their_exit_codes() -> None:
    container = ContainerStatus("engine", "terminated", exit_code=137, restarts=4)
    waiting = ContainerStatus("init", "waiting", "PodInitializing")
    pod = PodStatus("p-1", "Running", containers=(container, waiting))
    [finding] = [one for one in found(SERVING, msgspec.structs.replace(READY, pods=(pod,)))]
    assert finding.evidence == ("engine: terminated, exit code 137", "engine: restarted 4 times")


def test_an_activation_under_way_is_no_fault() -> None:
    [finding] = found(ACTIVATING)
    assert finding.severity == "info"
    assert "within 590 s" in finding.evidence[0]


def test_one_that_takes_long_is_a_warning_and_one_that_nobody_begins_an_error() -> None:
    later = NOW + timedelta(seconds=400)
    [slow] = found(ACTIVATING, now=later)
    assert slow.severity == "warning"
    forgotten = msgspec.structs.replace(COMING, worker="")
    slot = msgspec.structs.replace(ACTIVATING, candidate=forgotten)
    [finding] = found(slot, now=later)
    assert (finding.severity, "processors" in finding.remedy) == ("error", True)


def test_a_candidate_that_waits_says_for_what() -> None:
    waiting = msgspec.structs.replace(COMING, waiting=True)
    [finding] = found(msgspec.structs.replace(ACTIVATING, candidate=waiting))
    assert finding.severity == "info"
    assert "mllm runtime promote big" in finding.remedy


def test_drift_is_a_warning_until_it_is_put_right() -> None:
    drifted = msgspec.structs.replace(SERVING, drift=Drift(("spec",), NOW))
    [finding] = found(drifted)
    assert (finding.severity, finding.evidence) == ("warning", ("spec",))
    right = msgspec.structs.replace(SERVING, drift=Drift(("spec",), NOW, corrected=True))
    assert [one.severity for one in found(right)] == ["info"]


def test_checks_that_do_not_pass_are_findings_and_the_worst_comes_first() -> None:
    checks = (
        Check("a", "pass", "fine"),
        Check("b", "warn", "tight", "more room"),
        Check("c", "fail", "a secret is missing", "set it"),
    )
    findings = found(SERVING, checks=checks)
    assert [(one.severity, one.problem) for one in findings] == [
        ("error", "a secret is missing"),
        ("warning", "tight"),
    ]
