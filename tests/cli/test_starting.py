"""What starting costs: no verb imports what it does not need."""

import resource
import subprocess
import sys
from math import inf
from pathlib import Path

from tests.cli.fake_gateway import JOB, NOW, FakeGateway, job_row, weights_row

SERVERS = ("litestar", "psycopg", "psycopg_pool", "nats", "kubernetes", "huggingface_hub", "hf_xet",
           "uvicorn", "uvloop", "opentelemetry", "prometheus_client", "psutil")  # fmt: skip
SLOW = ("rich", "urllib3", "asyncio", "ulid", "yaml")
ROOMS = ("gateway", "commands", "projections", "processors")

BIN = Path(sys.executable).parent

LIST_MODULES = """
import sys
from cli.main import run
for line in sys.argv[1:]:
    assert run(line.split()) == 0, line
print("\\n".join(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def imported(*lines: str) -> set[str]:
    """The packages that a program imports which runs these command lines."""
    outcome = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, *lines], capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr
    return set(outcome.stderr.splitlines())


VERBS = [
    "weights list",
    "weights info org/model",
    "weights install org/model",
    "weights plan org/model",
    "weights usage",
    "jobs list -q",
    f"jobs get {JOB} -q",
    f"jobs describe {JOB}",
    f"jobs watch {JOB} -q",
    f"jobs wait {JOB} -q",
    f"jobs logs {JOB} -q",
    f"jobs logs -f {JOB} -q",
    f"jobs cancel {JOB} --yes",
    f"jobs retry {JOB} --wait",
    f"jobs pause {JOB}",
    f"jobs resume {JOB} --watch",
    f"jobs priority {JOB} low",
    "weights verify org/model",
    "weights delete org/model --yes",
    "tokens list -q",
    "tokens issue ci --scope read",
    "tokens rotate t1",
    "tokens revoke t1 --yes",
    "secrets list -q",
    "secrets delete hub --yes",
    "events list -o json",
    "projections status -o jsonpath={.items[*].name}",
    "projections rebuild jobs",
    "status",
]


def test_a_verb_that_talks_to_the_gateway_imports_no_server(gateway: FakeGateway) -> None:
    gateway.put(job_row(status="completed", finished_at=NOW))
    gateway.weights = {"org/model": weights_row()}
    gateway.secrets = {"hub": "value"}

    assert imported(*VERBS).isdisjoint(SERVERS + SLOW + ROOMS)


def test_the_version_needs_nothing_at_all(home: Path) -> None:
    found = imported("version")

    assert found.isdisjoint(SERVERS + SLOW + ROOMS)
    assert found.isdisjoint({"msgspec", "schemas", "http", "socket"})


def seconds(*argv: str) -> float:
    """What a program takes of the processor: on a busy machine the clock tells of others."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratio(one: tuple[str, ...], other: tuple[str, ...], runs: int, most: float) -> float:
    """How much more `one` takes than `other`, at best: both run in turn.

    Where that is more than `most` they run again, a few times: on a machine that others use, too,
    the processor itself is slower at times.
    """
    ones, others = [inf], [inf]
    for run in range(5 * runs):
        ones.append(seconds(*one))
        others.append(seconds(*other))
        if run + 1 >= runs and min(ones) <= most * min(others):
            break
    return min(ones) / min(others)


def test_the_version_costs_little_more_than_the_library(home: Path) -> None:
    version = (str(BIN / "mllm"), "version")

    assert ratio(version, (sys.executable, "-c", "import cyclopts"), 7, 1.5) <= 1.5


def test_a_list_is_faster_than_the_hubs_own_version(gateway: FakeGateway) -> None:
    listing = (str(BIN / "mllm"), "jobs", "list")

    assert ratio(listing, (str(BIN / "hf"), "version"), 5, 1.0) < 1.0
