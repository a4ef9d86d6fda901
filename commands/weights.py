"""Deciding about the weights in one target. Pure: no clock, no network, no logging.

This aggregate is the single owner of the rules that span jobs, models and slots: one claim at a
time, the same content asked for twice is one job, and nothing in use is deleted or replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from commands.decider import Decider
from schemas.job import DeleteSpec, InstallSpec
from schemas.message import Rejected
from schemas.names import weights_id
from schemas.weights import (
    AGGREGATE,
    RecordCorrupted,
    RecordDeleted,
    RecordFiles,
    RecordInstalled,
    RecordVerified,
    ReferenceWeights,
    ReleaseWeights,
    ReserveWeights,
    UnreferenceWeights,
    WeightsCommand,
    WeightsCorrupted,
    WeightsDeleted,
    WeightsEvent,
    WeightsFiles,
    WeightsInstalled,
    WeightsReferenced,
    WeightsReleased,
    WeightsReserved,
    WeightsUnreferenced,
    WeightsVerified,
)


@dataclass(frozen=True)
class Installed:
    job: str
    key: str
    manifest: str
    store: str


@dataclass(frozen=True)
class Weights:
    claim: WeightsReserved | None = None
    installed: Installed | None = None
    parts: int = 0
    references: frozenset[str] = frozenset()


def decide(weights: Weights, command: WeightsCommand) -> Sequence[WeightsEvent]:
    match command:
        case ReserveWeights():
            return _reserve(weights, command)
        case ReleaseWeights():
            return _release(weights, command)
        case RecordFiles():
            return _record_files(weights, command)
        case RecordInstalled():
            return _record_installed(weights, command)
        case RecordVerified(target=target, job=job, files=files, bytes=bytes):
            _refuse_other_manifest(weights, target, command.manifest)
            return [WeightsVerified(target, job, files, bytes)]
        case RecordCorrupted(target=target, job=job, paths=paths):
            _refuse_other_manifest(weights, target, command.manifest)
            return [WeightsCorrupted(target, job, paths)]
        case RecordDeleted(target=target, job=job):
            return _record_deleted(weights, target, job)
        case ReferenceWeights(target=target, by=by):
            _refuse_absent(weights, target)
            _refuse_claimed(weights, target)
            return [] if by in weights.references else [WeightsReferenced(target, by)]
        case UnreferenceWeights(target=target, by=by):
            return [WeightsUnreferenced(target, by)] if by in weights.references else []
        case _:
            assert_never(command)


def _reserve(weights: Weights, command: ReserveWeights) -> Sequence[WeightsEvent]:
    spec, claim = command.spec, weights.claim
    if claim is not None and claim.key == command.key:
        again = claim.job == command.job and claim.turn < command.turn
        return [_reserved(command)] if again else []
    _refuse_claimed(weights, command.target)
    if isinstance(spec, DeleteSpec):
        _refuse_absent(weights, command.target)
        _refuse_in_use(weights, command.target, "deleted")
    if isinstance(spec, InstallSpec) and weights.installed is not None:
        if weights.installed.key == command.key and not spec.overwrite:
            return []
        _refuse_other_content(weights, command.target, spec)
    return [_reserved(command)]


def _reserved(command: ReserveWeights) -> WeightsReserved:
    return WeightsReserved(
        command.target,
        command.job,
        command.key,
        command.store,
        command.priority,
        command.spec,
        command.turn,
        command.clean,
    )


def _release(weights: Weights, command: ReleaseWeights) -> Sequence[WeightsEvent]:
    claim = weights.claim
    if claim is None or claim.job != command.job or claim.turn > command.turn:
        return []
    return [WeightsReleased(command.target, command.job)]


def _refuse_other_content(weights: Weights, target: str, spec: InstallSpec) -> None:
    if not spec.overwrite:
        raise Rejected(
            "conflict", f"{target} holds other content; install with overwrite to replace it"
        )
    _refuse_in_use(weights, target, "replaced")


def _refuse_claimed(weights: Weights, target: str) -> None:
    if weights.claim is not None:
        busy, job = weights.claim.spec, weights.claim.job
        doing = "deleted" if isinstance(busy, DeleteSpec) else "installed with other content"
        raise Rejected("conflict", f"{target} is being {doing} by job {job}", job=job)


def _refuse_absent(weights: Weights, target: str) -> None:
    if weights.installed is None:
        raise Rejected("not_found", f"no weights are installed as {target}")


def _refuse_other_manifest(weights: Weights, target: str, manifest: str) -> None:
    _refuse_absent(weights, target)
    if manifest and weights.installed is not None and weights.installed.manifest != manifest:
        raise Rejected("conflict", f"{target} was replaced while it was being read")


def _refuse_in_use(weights: Weights, target: str, done: str) -> None:
    if weights.references:
        users = ", ".join(sorted(weights.references))
        raise Rejected("conflict", f"{target} is in use by {users} and can not be {done}")


def _claimed(weights: Weights, target: str, job: str) -> WeightsReserved:
    """The claim that `job` acts under."""
    if weights.claim is None or weights.claim.job != job:
        raise Rejected("fenced", f"job {job} does not hold {target}")
    return weights.claim


def _record_files(weights: Weights, command: RecordFiles) -> Sequence[WeightsEvent]:
    _claimed(weights, command.target, command.job)
    if command.part <= weights.parts:
        return []
    _refuse_gap(weights, command.part)
    return [WeightsFiles(command.target, command.job, command.part, command.of, command.files)]


def _refuse_gap(weights: Weights, part: int) -> None:
    if part > weights.parts + 1:
        raise Rejected("conflict", f"part {part} came before part {weights.parts + 1}")


def _record_installed(weights: Weights, command: RecordInstalled) -> Sequence[WeightsEvent]:
    claim, done = weights.claim, weights.installed
    if done is not None and (done.job, done.manifest) == (command.job, command.manifest):
        held = claim is not None and claim.job == command.job
        return [WeightsReleased(command.target, command.job)] if held else []
    claim = _claimed(weights, command.target, command.job)
    spec = claim.spec
    if not isinstance(spec, InstallSpec):
        raise Rejected("conflict", f"job {command.job} is not an install")
    _refuse_gap(weights, command.part)
    files = WeightsFiles(command.target, command.job, command.part, command.of, command.files)
    installed = WeightsInstalled(
        command.target,
        command.job,
        command.manifest,
        spec.key,
        claim.store,
        spec.repo,
        spec.revision,
        spec.commit,
        spec.files,
        command.bytes,
        spec.license,
        command.left_out,
        command.facts,
    )
    return [files, installed, WeightsReleased(command.target, command.job)]


def _record_deleted(weights: Weights, target: str, job: str) -> Sequence[WeightsEvent]:
    if weights.installed is None:
        return []
    if not isinstance(_claimed(weights, target, job).spec, DeleteSpec):
        raise Rejected("conflict", f"job {job} is not a deletion")
    return [WeightsDeleted(target, job), WeightsReleased(target, job)]


def evolve(weights: Weights, event: WeightsEvent) -> Weights:
    match event:
        case WeightsReserved():
            return replace(weights, claim=event, parts=0)
        case WeightsReleased():
            return replace(weights, claim=None, parts=0)
        case WeightsFiles(part=part):
            return replace(weights, parts=part)
        case WeightsInstalled(job=job, key=key, manifest=manifest, store=store):
            return replace(weights, installed=Installed(job, key, manifest, store))
        case WeightsReferenced(by=by):
            return replace(weights, references=weights.references | {by})
        case WeightsUnreferenced(by=by):
            return replace(weights, references=weights.references - {by})
        case WeightsDeleted():
            return replace(weights, installed=None)
        case WeightsVerified() | WeightsCorrupted():
            return weights
        case _:
            assert_never(event)


decider = Decider(AGGREGATE, Weights(), decide, evolve, lambda command: weights_id(command.target))
