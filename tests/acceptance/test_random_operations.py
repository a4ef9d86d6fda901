"""Many people doing anything at any time, while processes are killed and the Hub has bad moments.

What they do follows from a seed, which a failure prints; when it happens does not.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.acceptance.soundness import assert_sound
from tests.acceptance.test_installing import fresh
from tests.hub import (
    FACTS,
    Cut,
    Drop,
    Garble,
    Hub,
    IgnoreRange,
    Refuse,
    Repo,
    Slow,
    Stall,
    Truncate,
)
from tests.hub.arming import Armed, Fault
from tests.support import PATIENCE
from tests.system import ROLES, TOKEN, System, system

KIB = 1 << 10
MODEL = "model.safetensors"
PEOPLE = 4
CATCHING_UP = 5.0
"""Seconds that read models may lag behind after a kill."""

TARGETS = ("t0", "t1", "t2", "t3", "o/t4", "o/t5", "p/t6", "p/t7")
UNFINISHED = ("pending", "running", "paused", "retrying")

DEEDS: Mapping[str, int] = {
    "install": 16,
    "overwrite": 24,
    "cancel": 5,
    "cancel and keep": 4,
    "pause": 10,
    "resume": 12,
    "retry": 10,
    "retry clean": 5,
    "prioritise": 6,
    "delete": 10,
    "verify": 8,
    "spoil": 5,
}

FAULTS: Sequence[Callable[[], Fault]] = (
    lambda: Cut(path=MODEL, times=3, after=(1, 200 * KIB)),
    lambda: Refuse(path=MODEL, times=4, status=503),
    lambda: Refuse(path=MODEL, times=1, status=429, retry_after=1),
    lambda: Refuse(kinds=FACTS, times=3, status=503),
    lambda: Garble(kinds=FACTS, times=2),
    lambda: Stall(path=MODEL, times=1, after=10_000),
    lambda: Garble(path=MODEL, times=1),
    lambda: Garble(path="config.json", times=2),
    lambda: Truncate(path=MODEL, times=1),
    lambda: Drop(times=3, reset=True),
    lambda: IgnoreRange(path=MODEL, times=3),
)


class Turmoil:
    """People who share an installation, and someone who kills its processes."""

    def __init__(self, mllm: System, hub: Hub, seed: int) -> None:
        self.mllm = mllm
        self.hub = hub
        self.seed = seed
        self.chance = random.Random(seed)
        sizes = [self.chance.randint(64, 1536) * KIB for _ in range(12)]
        self.repos: Sequence[Repo] = [fresh(hub, big=size) for size in sizes]
        self.jobs: list[str] = []
        self.sequence = 0
        self.done = 0
        self.answers: Counter[str] = Counter()
        self.armed: list[Armed] = []
        self.kills: list[list[float]] = []
        self.lock = threading.Lock()
        self.client = httpx.Client(
            base_url=mllm.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=PATIENCE
        )

    def run(self, deeds: int, kills: int, pause: float) -> None:
        """Have it all happen: so many deeds, each person waiting `pause` seconds on average."""
        self.armed.append(self.hub.faults.add(Slow(path=MODEL, bytes_per_second=512 * KIB)))
        share = deeds // PEOPLE
        with ThreadPoolExecutor(PEOPLE) as pool:
            people = [pool.submit(self.person, n, share, pause) for n in range(PEOPLE)]
            for n in range(kills):
                while self.done < (n + 1) * deeds // (kills + 1) and any(
                    not person.done() for person in people
                ):
                    time.sleep(0.05)
                self.kill("processors" if n % 2 == 0 else self.chance.choice(ROLES))
            for person in people:
                person.result()
        for armed in self.armed:
            armed.disarm()

    def person(self, number: int, deeds: int, pause: float) -> None:
        chance = random.Random(f"{self.seed} {number}")
        for _ in range(deeds):
            time.sleep(chance.uniform(0, 2 * pause))
            [deed] = chance.choices(list(DEEDS), list(DEEDS.values()))
            self.do(deed, chance)
            with self.lock:
                self.done += 1

    def do(self, deed: str, chance: random.Random) -> None:
        target = chance.choice(TARGETS)
        repo = chance.choice(self.repos).id
        match deed:
            case "install" | "overwrite":
                body = {"hfModelId": repo, "target": target, "overwrite": deed == "overwrite"}
                self.write("POST", "/weights/install", {**body, "priority": chance.randrange(3)})
            case "delete":
                self.write("DELETE", "/weights", name=target)
            case "verify":
                self.write("POST", "/weights/verify", {"name": target})
            case "spoil":
                self.armed.append(self.hub.faults.add(chance.choice(FAULTS)()))
            case "retry" | "retry clean" if self.jobs:
                job = chance.choice(self.jobs[-20:])
                self.write("POST", f"/jobs/{job}/retry", {"clean": deed != "retry"})
            case _:
                self.interfere(deed, chance)

    def interfere(self, deed: str, chance: random.Random) -> None:
        """Do something to a job that is unfinished, if there is one, as far as can be seen."""
        unfinished = self.unfinished()
        if not unfinished:
            return
        job = f"/jobs/{chance.choice(unfinished)['id']}"
        match deed:
            case "cancel" | "cancel and keep":
                self.write("POST", f"{job}/cancel", {"keepPartial": deed != "cancel"})
            case "prioritise":
                self.write("POST", f"{job}/priority", {"priority": chance.randrange(3)})
            case _:
                self.write("POST", f"{job}/{deed}")

    def write(self, method: str, path: str, body: object = None, **query: str) -> None:
        """Send a write, again while it gets no answer, and take note of what it made."""
        headers = {"Idempotency-Key": uuid4().hex}
        response = self.send(method, path, json=body, params=query, headers=headers)
        if response.is_success:
            accepted = response.json()
            with self.lock:
                self.sequence = max(self.sequence, accepted["sequence"])
                if accepted["job"]["id"] not in self.jobs:
                    self.jobs.append(accepted["job"]["id"])

    def send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """What a request is answered. Refusals are fine; no answer, or that there can be none now,
        is so only while something is being killed, or the Hub fails."""
        deadline = time.monotonic() + PATIENCE
        while True:
            began = time.monotonic()
            assert began < deadline, f"{method} {path} is never answered"
            try:
                response = self.client.request(method, path, **parts)
            except httpx.TransportError:
                if not self.disturbed_since(began):
                    raise
            else:
                code = "" if response.is_success else response.json()["code"]
                self.answers[f"{response.status_code} {code}".strip()] += 1
                if response.status_code < 500:
                    return response
                assert response.status_code == 503, response.text
                passing = code in ("hub_unreachable", "read_model_behind")
                assert passing or self.disturbed_since(began), response.text
            time.sleep(0.1)

    def kill(self, role: str) -> None:
        """Kill a role as the out-of-memory killer would, and start it again a moment later."""
        outage = [time.monotonic(), inf]
        self.kills.append(outage)
        self.mllm.kill(role)
        time.sleep(self.chance.uniform(0, 0.5))
        self.mllm.start(role)
        outage[1] = time.monotonic() + CATCHING_UP

    def disturbed_since(self, moment: float) -> bool:
        return any(end >= moment for _, end in self.kills)

    def settle(self, within: float) -> None:
        """Let everything come to its end: what is paused goes on, or is given up."""
        deadline = time.monotonic() + within
        while unfinished := self.unfinished():
            assert time.monotonic() < deadline, self.explain(unfinished)
            for job in unfinished:
                if job["status"] == "paused":
                    verb = self.chance.choice(("resume", "resume", "cancel"))
                    self.write("POST", f"/jobs/{job['id']}/{verb}")
            time.sleep(0.2)

    def unfinished(self) -> list[dict[str, Any]]:
        wanted = {"status": UNFINISHED, "min_sequence": self.sequence, "limit": 500}
        found: list[dict[str, Any]] = self.send("GET", "/jobs", params=wanted).json()["items"]
        return found

    def explain(self, unfinished: Sequence[Mapping[str, Any]]) -> str:
        stuck = [f"{job}\n{self.mllm.events(job['id'])}" for job in unfinished]
        return "\n".join([*stuck, self.mllm.log("processors")])


@pytest.fixture
def mllm(
    tmp_path: Path, nats_url: str, database_url: str, stream_prefix: str, hub: Hub
) -> Generator[System]:
    settings = {"MLLM_SLOTS": "4", "MLLM_BACKOFF_CAP_SECONDS": "2"}
    with system(tmp_path, nats_url, database_url, stream_prefix, hub.url, **settings) as made:
        made.start()
        yield made


@contextmanager
def turmoil(mllm: System, hub: Hub) -> Generator[Turmoil]:
    """Says on failure what to put in place of the seed to have the same people again."""
    seed = random.SystemRandom().getrandbits(32)
    made = Turmoil(mllm, hub, seed)
    try:
        yield made
    finally:
        print(f"seed {seed}, answers {dict(made.answers)}")
        for armed in made.armed:
            armed.disarm()
        made.client.close()


async def survives(mllm: System, hub: Hub, deeds: int, kills: int, pause: float) -> None:
    with turmoil(mllm, hub) as chaos:
        chaos.run(deeds, kills, pause)
        chaos.settle(within=120)
        told = await assert_sound(mllm)
        assert any(job.status == "completed" for job in told.jobs.values())


async def test_after_sixty_operations_and_two_kills_all_agree(mllm: System, hub: Hub) -> None:
    await survives(mllm, hub, deeds=60, kills=2, pause=0.6)


@pytest.mark.chaos
async def test_after_two_thousand_operations_all_agree(mllm: System, hub: Hub) -> None:
    await survives(mllm, hub, deeds=2000, kills=50, pause=0.6)
