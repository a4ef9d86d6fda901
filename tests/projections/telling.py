"""Histories for read models: what happened, as commits with positions and times of their own."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec

from schemas.alias import AliasSet
from schemas.job import (
    DeleteSpec,
    FinishedFile,
    InstallSpec,
    JobAttemptFailed,
    JobCancelRequested,
    JobCompleted,
    JobFailed,
    JobProgress,
    JobRequested,
    JobSpec,
    JobStarted,
)
from schemas.log import AnyEvent, Commit, Head, Stream, new_commit
from schemas.manifest import Manifest, Replicas, WeightsSource
from schemas.message import Context
from schemas.model import ModelDeleted, ModelRegistered, ModelUpdated
from schemas.names import name_id, weights_id
from schemas.runtime import (
    ActivationCompleted,
    ActivationFailed,
    ActivationPhase,
    ActivationRequested,
    ActivationRolledBack,
    ActivationStarted,
    DeactivationCompleted,
    DeactivationStarted,
    DriftDetected,
    PhaseTime,
    Scaled,
    Served,
)
from schemas.status import PodStatus, SlotStatus, StatusUpdated
from schemas.weights import (
    WeightsDeleted,
    WeightsFiles,
    WeightsInstalled,
    WeightsReferenced,
    WeightsReleased,
    WeightsReserved,
)

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
ACTOR = "token:t1"
JOB, OTHER_JOB = "01JOBJOBJOBJOBJOBJOBJOBJOB", "01JOCJOCJOCJOCJOCJOCJOCJOC"
TARGET = "org/model"
SPEC = InstallSpec("org/model", "main", "c0ffee", "key", files=2, bytes=30, license="mit")
FILES = (
    FinishedFile("config.json", 20, "blob-sha1", "bb"),
    FinishedFile("a.safetensors", 10, "sha256", "aa"),
)


def at(position: int) -> datetime:
    """When the commit at that position was written: a second after the one before."""
    return START + timedelta(seconds=position)


def job(id: str = JOB, namespace: str = "default") -> Stream:
    return Stream(namespace, "job", id)


def weights(target: str = TARGET, namespace: str = "default") -> Stream:
    return Stream(namespace, "weights", weights_id(target))


def model(name: str = "small", namespace: str = "default") -> Stream:
    return Stream(namespace, "model", name_id(name))


def alias(name: str = "chat", namespace: str = "default") -> Stream:
    return Stream(namespace, "alias", name_id(name))


def slot(name: str = "active-llm", namespace: str = "default") -> Stream:
    return Stream(namespace, "runtime", name)


def seen(name: str = "active-llm", namespace: str = "default") -> Stream:
    return Stream(namespace, "status", name)


class Told:
    """A log that grows as a test tells on; its followers get up to `batch` commits at a time."""

    def __init__(self, batch: int = 1000) -> None:
        self.commits: list[Commit] = []
        self.followed = 0
        self._batch = batch
        self._news = asyncio.Event()

    def __call__(self, stream: Stream, *events: AnyEvent) -> Commit:
        position = len(self.commits) + 1
        context = Context(
            command=f"command-{position}",
            at=at(position),
            actor=ACTOR,
            correlation=f"request-{position}",
        )
        return self.add(new_commit(Head(), stream, events, context))

    def add(self, commit: Commit) -> Commit:
        """A commit as it is, but for its position."""
        self.commits.append(msgspec.structs.replace(commit, position=len(self.commits) + 1))
        self._news.set()
        return self.commits[-1]

    def once_more(self) -> "Told":
        """The same log, whose followers are counted apart."""
        same = Told(self._batch)
        same.commits, same._news = self.commits, self._news
        return same

    async def follow(self, after: int) -> AsyncGenerator[Sequence[Commit]]:
        self.followed += 1
        while True:
            if batch := self.commits[after : after + self._batch]:
                after += len(batch)
                yield batch
            else:
                self._news.clear()
                await self._news.wait()

    async def end(self) -> int:
        return len(self.commits)


def requested(id: str = JOB, spec: JobSpec = SPEC) -> JobRequested:
    return JobRequested(id, TARGET, "default", 1, spec)


def reserved(id: str = JOB, target: str = TARGET, spec: JobSpec = SPEC) -> WeightsReserved:
    return WeightsReserved(target, id, "key", "default", 1, spec)


def installed(id: str = JOB, target: str = TARGET) -> WeightsInstalled:
    return WeightsInstalled(
        target, id, "manifest", "key", "default", "org/model", "main", "c0ffee", 2, 30, "mit"
    )


def install(told: Told, id: str = JOB, target: str = TARGET, namespace: str = "default") -> None:
    """A whole install, in nine commits."""
    work, place = job(id, namespace), weights(target, namespace)
    told(place, reserved(id, target))
    told(work, JobRequested(id, target, "default", 1, SPEC))
    told(work, JobStarted(id, 1, "worker-1"))
    for done in range(3):
        told(work, JobProgress(id, 1, "fetch", 10 * done, 30, done, 2, FILES[done - 1 : done]))
    told(
        place,
        WeightsFiles(target, id, 1, 1, FILES),
        installed(id, target),
        WeightsReleased(target, id),
    )
    told(work, JobCompleted(id, 1, 30, 2))


def anything(told: Told, count: int, seed: int = 1) -> None:
    """As many commits about a few jobs and weights, in an order that no decider would allow."""
    random = Random(seed)
    for number in range(count):
        name = random.choice("ABCDE")
        id, target = name * 26, f"org/{name}"
        namespace = random.choice(["default", "other"])
        stream, events = random.choices(
            (
                (job(id, namespace), _job_events(id, number)),
                (weights(target, namespace), _weights_events(id, target)),
                (model(name, namespace), _model_events(name, number)),
                (alias(name, namespace), (AliasSet(name, "small"), AliasSet(name, ""))),
                (slot(f"slot-{name.lower()}", namespace), _slot_events(name.lower(), number)),
                (seen(f"slot-{name.lower()}", namespace), (status(name, number),)),
            ),
            weights=(4, 3, 1, 1, 3, 1),
        )[0]
        told(stream, *random.choices(events, k=random.randint(1, 3)))


def _job_events(id: str, number: int) -> Sequence[AnyEvent]:
    return (
        requested(id),
        requested(id, DeleteSpec()),
        JobStarted(id, number, f"worker-{number % 3}"),
        JobProgress(id, 1, "fetch", number, 1000, 1, 2, FILES[: number % 3]),
        JobAttemptFailed(id, 1, "stalled", f"for {number} s \0", True, at(number)),
        JobCancelRequested(id),
        JobCompleted(id, 1, 30, 2),
        JobFailed(id, "stalled", "again and again"),
    )


def _weights_events(id: str, target: str) -> Sequence[AnyEvent]:
    return (
        reserved(id, target),
        reserved(id, target, DeleteSpec()),
        WeightsFiles(target, id, 1, 1, FILES),
        installed(id, target),
        WeightsReleased(target, id),
        WeightsReferenced(target, f"slot-{id[0]}"),
        WeightsDeleted(target, id),
    )


def manifest(name: str = "small", max_replicas: int = 1) -> Manifest:
    return Manifest(name, WeightsSource(TARGET), replicas=Replicas(1, max_replicas))


def served(id: str, model: str = "small") -> Served:
    return Served(id, model, 7, manifest(model), TARGET, "default")


def status(name: str, number: int) -> StatusUpdated:
    pod = PodStatus(f"{name}-0", "Running", ready=number % 2 == 0, gpus=1)
    return StatusUpdated(f"slot-{name.lower()}", SlotStatus("ready", name, pods=(pod,)))


def _model_events(name: str, number: int) -> Sequence[AnyEvent]:
    return (
        ModelRegistered(name, manifest(name)),
        ModelUpdated(name, manifest(name, 1 + number % 7)),
        ModelDeleted(name),
    )


def _slot_events(name: str, number: int) -> Sequence[AnyEvent]:
    """Of two activations in turn, so that some belong together."""
    place, id = f"slot-{name}", f"{name}{number % 2}".upper() * 13
    return (
        ActivationRequested(place, served(id), "direct", "me"),
        ActivationStarted(place, id, "worker-1"),
        ActivationPhase(place, id, "load", number),
        ActivationPhase(place, id, "switch", number),
        ActivationCompleted(place, id, "small", number, (PhaseTime("load", 3),)),
        ActivationFailed(place, id, "small", "engine_died", f"after {number} \0"),
        ActivationRolledBack(place, id, "small", "me"),
        DeactivationStarted(place, id, "small", "me"),
        DeactivationCompleted(place, id, "small"),
        Scaled(place, 1 + number % 3, "me"),
        DriftDetected(place, "small", ("spec.replicas",)),
    )
