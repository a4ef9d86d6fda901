"""Deciding about the weights in one target. Pure: no clock, no network, no logging.

This aggregate is the single owner of the rules that span jobs, models and slots: one claim at a
time, the same content asked for twice is one job, and nothing in use is deleted or replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from commands.decider import Decider
from schemas.disk import refuse_full
from schemas.job import DeleteSpec, InstallSpec
from schemas.message import Rejected
from schemas.names import weights_id
from schemas.remedies import install_again
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
from schemas.weights_users import slot_user, user_of_model


@dataclass(frozen=True)
class Installed:
    """`corrupted` are the files last found not to be as the manifest says."""

    job: str
    key: str
    manifest: str
    store: str
    repo: str = ""
    revision: str = "main"
    corrupted: tuple[str, ...] = ()


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
            return _reference(weights, target, by)
        case UnreferenceWeights(target=target, by=by):
            return _unreference(weights, target, by)
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
        _refuse_in_use(command.target, weights.references, "deleted")
    if isinstance(spec, InstallSpec) and weights.installed is not None:
        if weights.installed.key == command.key and not spec.overwrite:
            refuse_corrupted(weights.installed, command.target)
            return []
        _refuse_other_content(weights, command.target, spec)
    refuse_full(command.store, command.disk)
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
            "conflict",
            f"{target} holds other content",
            remedy="install with overwrite to replace it, or choose another target",
        )
    serving = frozenset(user for user in weights.references if not _is_model(user))
    _refuse_in_use(target, serving, "replaced")


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


def _refuse_in_use(target: str, users: frozenset[str], done: str) -> None:
    if users:
        named = ", ".join(sorted(users))
        raise Rejected(
            "conflict",
            f"{target} is in use by {named} and can not be {done}",
            remedy="delete these models, or deactivate the slots, first",
        )


def _is_model(user: str) -> bool:
    """Whether this is a model of the catalog, which may have its weights replaced under it."""
    return user == user_of_model(user.partition("/")[2])


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
        command.others,
    )
    return [files, installed, WeightsReleased(command.target, command.job)]


def _record_deleted(weights: Weights, target: str, job: str) -> Sequence[WeightsEvent]:
    if weights.installed is None:
        return []
    if not isinstance(_claimed(weights, target, job).spec, DeleteSpec):
        raise Rejected("conflict", f"job {job} is not a deletion")
    return [WeightsDeleted(target, job), WeightsReleased(target, job)]


def _reference(weights: Weights, target: str, by: str) -> Sequence[WeightsEvent]:
    """A model may be about weights that are being replaced: it means whatever is there."""
    _refuse_absent(weights, target)
    if weights.claim is None or isinstance(weights.claim.spec, DeleteSpec) or not _is_model(by):
        _refuse_claimed(weights, target)
    if model := slot_user(by).model:
        _refuse_slot(weights, target, model)
    return [] if by in weights.references else [WeightsReferenced(target, by)]


def _refuse_slot(weights: Weights, target: str, model: str) -> None:
    """A slot relies on weights through a model that does, and on whole ones only."""
    if user_of_model(model) not in weights.references:
        raise Rejected("unreferenced_model", f"model {model} does not rely on {target}")
    if weights.installed is not None:
        refuse_corrupted(weights.installed, target)


def refuse_corrupted(installed: Installed, target: str) -> None:
    """Raises `Rejected` with `weights_corrupted`."""
    if paths := installed.corrupted:
        raise Rejected(
            "weights_corrupted",
            f"{target} is not what was installed: {', '.join(paths[:3])}",
            files=paths,
            remedy=install_again(installed.repo, installed.revision, target),
        )


def _unreference(weights: Weights, target: str, by: str) -> Sequence[WeightsEvent]:
    users = [slot_user(user) for user in weights.references]
    slots = sorted(user.slot for user in users if user.slot and by == user_of_model(user.model))
    if slots:
        model, where = by.partition("/")[2], ", ".join(slots)
        raise Rejected(
            "conflict",
            f"{model} is active in {where}",
            model=model,
            slots=slots,
            remedy=f"mllm runtime deactivate --slot {slots[0]}",
        )
    return [WeightsUnreferenced(target, by)] if by in weights.references else []


def evolve(weights: Weights, event: WeightsEvent) -> Weights:
    match event:
        case WeightsReserved():
            return replace(weights, claim=event, parts=0)
        case WeightsReleased():
            return replace(weights, claim=None, parts=0)
        case WeightsFiles(part=part):
            return replace(weights, parts=part)
        case WeightsInstalled():
            return replace(weights, installed=_installed(event))
        case WeightsReferenced(by=by):
            return replace(weights, references=weights.references | {by})
        case WeightsUnreferenced(by=by):
            return replace(weights, references=weights.references - {by})
        case WeightsDeleted():
            return replace(weights, installed=None)
        case WeightsVerified():
            return _found(weights, ())
        case WeightsCorrupted(paths=paths):
            return _found(weights, paths)
        case _:
            assert_never(event)


def _installed(event: WeightsInstalled) -> Installed:
    return Installed(
        job=event.job,
        key=event.key,
        manifest=event.manifest,
        store=event.store,
        repo=event.repo,
        revision=event.revision,
    )


def _found(weights: Weights, corrupted: tuple[str, ...]) -> Weights:
    if weights.installed is None:
        return weights
    return replace(weights, installed=replace(weights.installed, corrupted=corrupted))


decider = Decider(AGGREGATE, Weights(), decide, evolve, lambda command: weights_id(command.target))
