"""The whole of mllm as its users run it: every role a process, reached over HTTP or by the CLI."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cli.embedded.nats import free_ports
from tests.support import PATIENCE

TOKEN = "mllm_admin_" + "s" * 43
ROLES = ("gateway", "projections", "processors")
ENDED = ("completed", "failed", "cancelled")


@dataclass(frozen=True)
class Ran:
    """How a command line went."""

    code: int
    out: str
    err: str


@dataclass
class System:
    """One installation. Its environment is the settings; `home` holds its weights and logs.

    `newest` is the position of the log that was last seen here: reads do not go back behind it.
    """

    home: Path
    env: dict[str, str]
    processes: dict[str, "subprocess.Popen[bytes]"] = field(
        default_factory=dict[str, "subprocess.Popen[bytes]"]
    )
    newest: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.env['MLLM_PORT']}"

    @property
    def weights(self) -> Path:
        return Path(self.env["MLLM_WEIGHTS_DIR"])

    def start(self, *roles: str) -> None:
        """Start roles, all of them by default, and wait until they are ready."""
        for role in roles or ROLES:
            self.launch(role)
        for role in roles or ROLES:
            self.until_ready(role)

    def launch(self, role: str, name: str = "", **env: str) -> None:
        """Start a process and do not wait; `name` tells several of one role apart."""
        name = name or role
        variables = {**self.env, **env}
        if role != "gateway" and "MLLM_METRICS_PORT" not in env:
            variables["MLLM_METRICS_PORT"] = self.env[f"PORT_{role}"]
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "cli", "serve", role],
                env={k: v for k, v in variables.items() if not k.startswith("PORT_")},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def join(self, role: str, name: str) -> None:
        """Start one more replica of projections or processors, and wait until it is ready."""
        port = str(free_ports(1)[0])
        self.launch(role, name, MLLM_METRICS_PORT=port)
        self._until_answers(name, port, "metrics")

    def until_ready(self, role: str) -> None:
        port = self.env["MLLM_PORT"] if role == "gateway" else self.env[f"PORT_{role}"]
        self._until_answers(role, port, "healthz" if role == "gateway" else "metrics")

    def _until_answers(self, role: str, port: str, path: str) -> None:
        def answers() -> bool:
            assert self.processes[role].poll() is None, self.log(role)
            try:
                return httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=5).is_success
            except httpx.HTTPError:
                return False

        wait(answers, lambda: self.log(role))

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")[-5000:]

    def kill(self, name: str) -> None:
        """End a process as the out-of-memory killer would."""
        self.send(name, signal.SIGKILL)
        self.processes.pop(name).wait()

    def send(self, name: str, number: signal.Signals) -> None:
        os.kill(self.processes[name].pid, number)

    def stop(self, *names: str) -> None:
        """End processes in good order; all of them by default."""
        for name in names or tuple(self.processes):
            self.processes[name].terminate()
        for name in names or tuple(self.processes):
            process = self.processes.pop(name)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise

    def call(self, method: str, path: str, body: object = None, **query: Any) -> httpx.Response:
        """Send a request, a read again while its read model is behind what was seen before."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        if method == "GET":
            headers["X-Min-Sequence"] = str(self.newest)
        deadline = time.monotonic() + PATIENCE
        while True:
            response = httpx.request(
                method, self.url + path, json=body, params=query, headers=headers, timeout=PATIENCE
            )
            if not _is_behind(response) or time.monotonic() > deadline:
                self.newest = max(self.newest, _newest(response))
                return response

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query).raise_for_status().json()

    def install(self, repo: str, **wanted: Any) -> dict[str, Any]:
        """Ask for an install and answer the whole of what was accepted."""
        response = self.call("POST", "/weights/install", {"hfModelId": repo, **wanted})
        assert response.status_code == 202, response.text
        accepted: dict[str, Any] = response.json()
        return accepted

    def job(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/jobs/{id}")
        return found

    def until(self, id: str, *statuses: str, within: float = PATIENCE) -> dict[str, Any]:
        """Wait until a job is in one of these statuses, ended by default; answer the job."""

        def holds() -> bool:
            response = self.call("GET", f"/jobs/{id}")
            return response.is_success and response.json()["status"] in (statuses or ENDED)

        def explain() -> str:
            return self.call("GET", f"/jobs/{id}").text + self.log("processors")

        wait(holds, explain, within)
        return self.job(id)

    def events(self, id: str) -> list[str]:
        """The types of everything that is on the log about a job."""
        found = self.get("/events/log", aggregate="job", id=id, limit=500)
        return [item["type"] for item in found["items"]]

    def cli(self, *words: str, **env: str) -> Ran:
        """Run the command line against this system."""
        variables = {**self.env, "MLLM_SERVER": self.url, "MLLM_TOKEN": TOKEN, **env}
        done = subprocess.run(
            [sys.executable, "-m", "cli", *words],
            env={k: v for k, v in variables.items() if not k.startswith("PORT_")},
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        with suppress(httpx.HTTPError):
            self.call("GET", "/system/info")  # which knows where the log ends now
        return Ran(done.returncode, done.stdout, done.stderr)


def _is_behind(response: httpx.Response) -> bool:
    return response.status_code == 503 and response.json().get("code") == "read_model_behind"


def _newest(response: httpx.Response) -> int:
    """The newest position that an answer speaks of, 0 if it speaks of none."""
    if not response.is_success or "json" not in response.headers.get("content-type", ""):
        return 0
    said: Any = response.json()
    parts: list[dict[str, Any]] = [said, *said.get("items", ())] if isinstance(said, dict) else []
    return max((part.get(key, 0) for part in parts for key in ("sequence", "position")), default=0)


def wait(holds: Callable[[], bool], explain: Callable[[], str], within: float = PATIENCE) -> None:
    """Wait until `holds`, or fail with an explanation."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.03)


@contextmanager
def system(
    home: Path, nats: str, database: str, prefix: str, hub: str, **settings: str
) -> Generator[System]:
    """An installation that is migrated and not yet started; all of it ends with the block."""
    home.mkdir(parents=True, exist_ok=True)
    gateway, projections, processors = free_ports(3)
    base: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "MLLM_NATS_URL": nats,
        "MLLM_DATABASE_URL": database,
        "MLLM_STREAM_PREFIX": prefix,
        "MLLM_DATA_DIR": str(home / "data"),
        "MLLM_WEIGHTS_DIR": str(home / "weights"),
        "MLLM_PORT": str(gateway),
        "MLLM_API_TOKEN": TOKEN,
        "MLLM_SECRET_KEY": "a key of some length",
        "MLLM_LEASE_SECONDS": "3",
        "MLLM_HEARTBEAT_SECONDS": "0.5",
        "MLLM_BACKOFF_SECONDS": "0.1",
        "MLLM_STALL_SECONDS": "5",
        "MLLM_WATCHDOG_SECONDS": "1",
        "MLLM_DISK_RESERVE": "16MiB",
        "MLLM_XET": "off",
        "HF_ENDPOINT": hub,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PORT_projections": str(projections),
        "PORT_processors": str(processors),
    }
    made = System(home, {**base, **settings})
    migrated = made.cli("migrate")
    assert migrated.code == 0, migrated.err
    try:
        yield made
    finally:
        for process in made.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
